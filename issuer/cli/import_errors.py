"""What can be wrong with a file to import.

    ImportFileError
    +-- UnusableFile  nothing can be imported from it; the message says what to do
    +-- BadRow        one row cannot be used; the message names the column

Messages carry no values: they go to terminals, and a value may be a name.
"""


class ImportFileError(Exception):
    """Root of the family."""


class UnusableFile(ImportFileError):
    """Nothing can be imported from the file."""


class BadRow(ImportFileError):
    """One row cannot be used."""
