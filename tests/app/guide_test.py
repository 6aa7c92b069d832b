"""Runs the commands of a guide as they stand there, in one shell, and compares what they print where the guide shows it.

  python3 guide_test.py GUIDE.md SOURCE_FOLDER VL2_PROGRAM

The working folder is a fresh one that looks like a checkout after its build. It also holds what a guide asks its reader for: a report.pdf; and
stand-ins for sbatch and kubectl, which run what they are given once a task, as those would, one after the other.
"""
import os
import re
import stat
import subprocess
import sys
import tempfile

SBATCH = """#!/bin/sh
set -eu
range=${1#--array=}
for task in $(seq "${range%-*}" "${range#*-}"); do
  SLURM_ARRAY_TASK_ID=$task sh "$2"
done
"""

KUBECTL = """#!/bin/sh
set -eu
[ "$1 $2" = "apply -f" ]
awk '/^ +- \\|$/ { inside = 1; next } inside && !/^              / { inside = 0 } inside { print }' "$3" >job.sh
[ -s job.sh ]
SHARDS=$(sed -n 's/.*name: SHARDS, value: "\\([0-9]*\\)".*/\\1/p' "$3")
[ "$SHARDS" = "$(sed -n 's/^  completions: //p' "$3")" ]
export SHARDS OUT=results
for index in $(seq 0 $((SHARDS - 1))); do
  JOB_COMPLETION_INDEX=$index sh job.sh
done
"""


def pdf_of(texts):
    """A PDF whose k-th page says texts[k]."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>",
               "<< /Type /Pages /Count %d /Kids [%s] >>" % (len(texts), " ".join("%d 0 R" % (4 + 2 * i) for i in range(len(texts)))),
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for i, text in enumerate(texts):
        drawing = "BT /F1 24 Tf 20 40 Td (%s) Tj ET" % text
        objects.append("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
                       % (5 + 2 * i))
        objects.append("<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing))
    file, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(file))
        file += "%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(file)
    file += "xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + "".join("%010d 00000 n \n" % place for place in places)
    return file + "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)


def steps_of(guide):
    """(command, what the guide shows of its output) of every line that begins with "$ " in a block of console."""
    steps = []
    for block in re.findall(r"```console\n(.*?)```", guide, re.S):
        begun = len(steps)
        for line in block.splitlines():
            # An answer may begin with a dollar sign, too: a prompt has a space behind it.
            if line.startswith("$ "):
                steps.append([line[2:], ""])
            else:
                assert len(steps) > begun, "output without a command: " + line
                steps[-1][1] += line + "\n"
    return steps


def write_program(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def main():
    guide, source, program = (os.path.abspath(path) for path in sys.argv[1:4])
    with open(guide, encoding="utf-8") as file:
        steps = steps_of(file.read())
    assert len(steps) > 5, "the guide's commands were not found"
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(folder + "/build/release")
        os.makedirs(folder + "/bin")
        os.symlink(source + "/app", folder + "/app")
        os.symlink(program, folder + "/build/release/vl2")
        write_program(folder + "/bin/sbatch", SBATCH)
        write_program(folder + "/bin/kubectl", KUBECTL)
        with open(folder + "/report.pdf", "w", encoding="ascii") as file:
            file.write(pdf_of(["Total 12", "Total 77", "Total 31"]))
        environment = dict(os.environ, PATH=folder + "/bin:" + os.environ["PATH"])
        script = ""
        for i, (command, _) in enumerate(steps):
            script += "{ %s\n} >out.%d </dev/null || { echo %d >failed; exit 1; }\n" % (command, i, i)
        done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        for i, (command, shown) in enumerate(steps):
            if not os.path.exists(folder + "/out.%d" % i):
                break
            with open(folder + "/out.%d" % i, encoding="utf-8") as file:
                printed = file.read()
            if shown and printed != shown:
                wrong += 1
                print("$ %s\nprinted\n%sand the guide says\n%s" % (command, printed, shown))
        if done.returncode != 0:
            wrong += 1
            with open(folder + "/failed", encoding="utf-8") as file:
                print("failed: $ %s\n%s" % (steps[int(file.read())][0], done.stderr))
        merged = [name for name in ("slurm.md", "kubernetes.md") if os.path.exists(folder + "/" + name)]
        if done.returncode == 0 and len(merged) == 2:
            texts = [open(folder + "/" + name, encoding="utf-8").read() for name in merged]  # pylint: disable=consider-using-with
            if texts[0] != texts[1] or "$641.56" not in texts[0]:
                wrong += 1
                print("Slurm and Kubernetes disagree:\n%s\n%s" % tuple(texts))
    print("%d commands of %s, %d wrong" % (len(steps), os.path.basename(guide), wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
