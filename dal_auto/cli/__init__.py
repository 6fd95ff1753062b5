"""The commands. Before any of them loads a library: threads that wait must not spin."""

from dal_auto.workers.threads import wait_passively

wait_passively()
