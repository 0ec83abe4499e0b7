"""Low-rank adapters in the matrices of a frozen backbone, through the package peft."""
