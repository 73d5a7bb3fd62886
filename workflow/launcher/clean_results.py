"""Remove the results of one run: ``clean_results.py FOLDER``, a folder in ``results/``."""

import shutil
import sys
from pathlib import Path


def main() -> None:
    folder = Path("results") / sys.argv[1]
    if folder.is_symlink() or folder.name == "reference":
        sys.exit(f"error: '{folder}' is {'a link' if folder.is_symlink() else 'kept'}: make does not remove it")
    # Every job of a run writes a log; a folder without logs was made by somebody else.
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "logs").is_dir():
        sys.exit(f"error: '{folder}' has no logs/, so no run of this project made it: remove it yourself")
    if folder.is_dir():
        shutil.rmtree(folder)
        print(f"removed {folder}")


if __name__ == "__main__":
    main()
