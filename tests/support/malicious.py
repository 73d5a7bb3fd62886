"""An object whose pickle does something when it is loaded."""

from pathlib import Path


class Malicious:
    """Unpickling this creates ``file``."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))
