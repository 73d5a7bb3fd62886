"""Print each file of the library and the scripts that run it: what an edit of the file reruns."""

from sequencematch.store.code_digest import SOURCE, import_closure

closures = {script.stem: import_closure(script) for script in sorted(SOURCE.glob("*.py"))}
for file in sorted(file for file in (SOURCE / "sequencematch").rglob("*") if file.is_file() and file.suffix != ".pyc"):
    scripts = [name for name, closure in closures.items() if file in closure]
    print(f"{file.relative_to(SOURCE / 'sequencematch')}: {', '.join(scripts) or 'no script'}")
