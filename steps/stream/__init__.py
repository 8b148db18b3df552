"""The streamOptimized form of a VMDK: what an import lease takes and an export lease gives."""
