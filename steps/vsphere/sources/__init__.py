"""Programs that read a frozen disk and serve it over NBD, one module for each transport: command lines, and what they
say when they fail. `https` is nbdkit-curl over the datastore's files, `vddk` nbdkit-vddk through VMware's library, `nbdkit` what
both share; `open_disks` counts what VDDK has open."""
