"""Sending a command with its files to a cluster: which files, shown first; over SSH or as a job; and its exit status back."""

from orchestrator.shipping.as_job import run_as_job
from orchestrator.shipping.named import named_files
from orchestrator.shipping.over_ssh import run_over_ssh
from orchestrator.shipping.selection import select_files
from orchestrator.shipping.shipment import Shipment, ShippedFile, ShippingError

__all__ = ["ShippedFile", "Shipment", "ShippingError", "named_files", "run_as_job", "run_over_ssh", "select_files"]
