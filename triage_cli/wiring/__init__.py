"""Creates the objects behind the ports: the only place that names stores, classifiers and destinations."""

from triage_cli.faces import face

__getattr__ = face(__name__)
