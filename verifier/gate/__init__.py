"""The terminal gate: a scanner that types, a screen that shows the verdict, a line a scan for programs."""
