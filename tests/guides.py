"""Does what the guides in app/docs say, as a reader would, and fails where one does not hold.

    python3 guides.py BUILD [GUIDE...]     BUILD: the build folder, built; GUIDE: app/docs/embed.md, ... (all)

A ``sh`` block is run; of a ``console`` block each line that begins with "$ " is run, and has to print what follows it. A block after a line
"`~/name`:" is written to that file. All of a guide runs in one shell, in the checkout's top, with a home folder of its own and vl2 in the PATH.
Blocks of other languages, and of no file, are for reading.
"""
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 300  # for one guide
FENCE = re.compile(r"^(?:`(?P<file>~/[^`]+)`:\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def expect(command, wanted, where):
    """Shell that runs a command and compares what it prints."""
    return "\n".join((f'got=$({command}\n)', f"wanted={shlex.quote(wanted)}",
                      'if [ "$got" != "$wanted" ]; then',
                      f'  printf "%s\\n" {shlex.quote(where + ": " + command)} "-- printed:" "$got" "-- wanted:" "$wanted" >&2; exit 1', "fi", ""))


def commands_of(console):
    """Pairs of a command, and the lines it has to print."""
    pairs = []
    for line in console.splitlines():
        if line.startswith("$ "):
            pairs.append((line[2:], []))
        elif pairs:
            pairs[-1][1].append(line)
        else:
            raise SystemExit(f"guides: a console block begins with {line!r}, wanted \"$ \"")
    return [(command, "\n".join(lines)) for command, lines in pairs]


def script_of(guide, text):
    """The guide as one shell script, and how many commands are in it."""
    script, count = ["set -euo pipefail"], 0
    for block in FENCE.finditer(text):
        where = f"{guide}:{text.count(chr(10), 0, block.start()) + 1}"
        if block["file"]:
            path = '"$HOME"/' + shlex.quote(block["file"][2:])
            script += [f"mkdir -p \"$(dirname {path})\"", f"cat > {path} <<'END OF FILE'", block["text"] + "END OF FILE"]
        elif block["language"] == "sh":
            script += [f"printf '%s\\n' {shlex.quote(where)}", block["text"]]
            count += 1
        elif block["language"] == "console":
            for command, wanted in commands_of(block["text"]):
                script.append(expect(command, wanted, where))
                count += 1
    return "\n".join(script) + "\n", count


def follow(guide, build):
    """Runs a guide; returns what is wrong with it, or nothing."""
    text = guide.read_text(encoding="utf-8").replace("build/release", shlex.quote(str(build)))
    script, count = script_of(guide.relative_to(ROOT), text)
    if count == 0:
        return "there is no command in it"
    with tempfile.TemporaryDirectory() as home:
        # Of the reader's home all but this: with an empty one lavapipe compiles every pipeline again, 20 s a guide.
        shaders = os.environ.get("MESA_SHADER_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        environment = {**os.environ, "HOME": home, "MESA_SHADER_CACHE_DIR": shaders,
                       "PATH": f"{build}:{os.environ['PATH']}", "VL2_SOURCE_DIR": str(ROOT)}
        shell = subprocess.Popen(["bash", "-c", script], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            output, _ = shell.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            output = f"not done after {SECONDS} s"
            shell.returncode = -1
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)  # what it left running
            except ProcessLookupError:
                pass
    if shell.returncode != 0:
        return f"exit status {shell.returncode}\n" + "\n".join(output.splitlines()[-40:])
    print(f"{guide.name}: {count} commands")
    return None


def main(arguments):
    if not arguments:
        raise SystemExit(__doc__)
    build = pathlib.Path(arguments[0]).resolve()
    guides = [pathlib.Path(name).resolve() for name in arguments[1:]] or sorted((ROOT / "app/docs").glob("*.md"))
    if not guides:
        raise SystemExit("guides: there is none in app/docs")
    wrong = [(guide, reason) for guide in guides if (reason := follow(guide, build))]
    for guide, reason in wrong:
        print(f"{guide.name}: {reason}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
