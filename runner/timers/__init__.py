"""systemd as the clock of jobs: a timer and a service for each job that has a schedule."""
