"""The command `mtp-hf data`: list, check, show, convert, push and export data sets."""
