"""Writes the workflows that the documents show into a folder, so that linters can read them.

    scripts/snippets.py FOLDER FILE...
"""

import pathlib
import re
import sys

FENCE = re.compile(r"^( *)```yaml\n(.*?)^\1```$", re.M | re.S)


def main() -> None:
    folder, files = pathlib.Path(sys.argv[1]), [pathlib.Path(name) for name in sys.argv[2:]]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yml"):
        old.unlink()
    for file in files:
        text = file.read_text()
        for fence in FENCE.finditer(text):
            body = fence.group(2)
            if re.search(r"^jobs:", body, re.M):
                line = text.count("\n", 0, fence.start()) + 1
                name = "-".join(file.with_suffix("").parts) + f"-line-{line}.yml"
                (folder / name).write_text(body)


main()
