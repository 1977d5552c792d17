"""Records and rules of the product, without I/O, vendors or a clock."""

from triage_cli.faces import face

__getattr__ = face(__name__)
