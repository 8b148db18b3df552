"""Wiring: a job file, the installed steps, the state and the world become a run, a plan, a diagnosis or a
sweep.

``options`` is how a job is asked for, ``workspace`` what one works on it with, ``outside`` the same in no
run of it. ``runs`` runs it: ``earlier_runs`` says first what becomes of the job's earlier runs, ``records``
what a run says of itself, ``outcome`` what came of it, ``afterwards`` what its end sets off. ``release``
releases what a run holds, ``sweep`` does so for all runs of a job. ``inspection`` plans and diagnoses,
``comparison`` plans against another version of the files, ``status`` tells of the runs: these change
nothing. Nothing here prints: the command line gives listeners and gets results.
"""
