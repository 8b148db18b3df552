"""What is told to Prometheus, as a file for the textfile collector of node_exporter. prometheus_client lives
here."""
