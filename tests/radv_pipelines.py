"""Compiles every pipeline of Tiny and Small, in f16 and in blocks (these with an 8-bit cache), for six AMD GPUs by RADV without hardware, and compares registers and spills with a table.

  python3 tests/radv_pipelines.py VL2 [--update]

Nothing executes. Fails on a pipeline that does not compile, on spills or scratch memory in a kernel that multiplies or attends, and, under the
Mesa that made tests/golden/radv/pipelines.json, on a pipeline with more spills or fewer subgroups in flight than there. Pipelines that the
table does not know (or no longer sees) are counted; --update writes the table anew. Another Mesa: compiled and checked for spills, not compared.
"""
import json
import os
import subprocess
import sys

FAMILIES = ("polaris10", "vega10", "navi21", "navi31", "gfx1150", "gfx1200")
MODELS = (("tiny", "F16"), ("small", "F16"), ("tiny", "Q4_K_M"), ("small", "Q4_K_M"))
HOT = ("gemm", "gemv", "attention", "matmul", "mla_matrix")
COLUMNS = ("VGPRs", "SGPRs", "Spilled VGPRs", "Spilled SGPRs", "Scratch size", "LDS size", "Subgroups per SIMD")
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "radv", "pipelines.json")
ICD = os.environ.get("VL2_RADV_ICD", "/usr/share/vulkan/icd.d/radeon_icd.json")


def compile_all(program, family, model, weights):
    """(driver, {"shader constants": [a value a column]})"""
    environment = dict(os.environ, RADV_FORCE_FAMILY=family, VK_DRIVER_FILES=ICD, VK_ICD_FILENAMES=ICD, VL2_CACHE_DIR="", VL2_DEVICE="", VL2_TIER="")
    words = [program, "bench", "--synthetic", model, "--type", weights, "--layers", "2", "--pipelines", "-p", "600,3", "-n", "2", "--batch", "2,8", "--views", "2", "--first-token", "0"]
    if weights != "F16":
        words += ["--cache-type", "q8_0"]
    if (model, weights) == MODELS[-1]:
        words += ["--expert-slots", "48"]  # the kernels of the cache; the others stay as they are
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"{family} {model} {weights}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    head, *lines = [json.loads(line) for line in done.stdout.splitlines()]
    if "radv" not in head["driver"] or len(lines) < 20:
        sys.exit(f"{family} {model} {weights}: {len(lines)} pipelines from {head['driver']}, wanted 20 or more from radv")
    name = lambda line: " ".join([line["shader"]] + [str(value) for value in line["constants"]])
    return head["driver"], {name(line): [int(line["statistics"][column]) for column in COLUMNS] for line in lines}


def main():
    program, update = sys.argv[1], "--update" in sys.argv[2:]
    known = json.load(open(TABLE)) if os.path.exists(TABLE) else {"driver": None, "table": {}}
    table, faults, news, total, driver = {}, [], 0, 0, None
    for family in FAMILIES:
        for model, weights in MODELS:
            group = f"{family} {model} {weights}"
            driver, table[group] = compile_all(program, family, model, weights)
            before = known["table"].get(group, {})
            for name, values in table[group].items():
                total += 1
                vgprs, sgprs, spilled_v, spilled_s, scratch, lds, waves = values
                if any(word in name for word in HOT) and (spilled_v or scratch):
                    faults.append(f"{group} {name}: {spilled_v} VGPRs spilled, {scratch} bytes of scratch")
                if driver == known["driver"] and name in before:
                    if spilled_v + spilled_s > before[name][2] + before[name][3] or waves < before[name][6]:
                        faults.append(f"{group} {name}: {dict(zip(COLUMNS, values))}, the table has {dict(zip(COLUMNS, before[name]))}")
                else:
                    news += 1
    print(f"{total} pipelines compiled by {driver} for {', '.join(FAMILIES)}")
    if update:
        os.makedirs(os.path.dirname(TABLE), exist_ok=True)
        with open(TABLE, "w") as file:
            rows = [f'  "{group}": {{\n' + ",\n".join(f'    "{name}": {json.dumps(values)}' for name, values in sorted(pipelines.items())) + "\n  }"
                    for group, pipelines in table.items()]
            file.write(f'{{"driver": "{driver}", "columns": {json.dumps(COLUMNS)}, "table": {{\n' + ",\n".join(rows) + "\n}}\n")
    elif driver != known["driver"]:
        print(f"not compared: the table is of {known['driver']}")
    else:
        print(f"compared with the table; {news} are not in it (--update adds them)")
    for fault in faults:
        print("FAULT", fault)
    sys.exit(1 if faults else 0)


main()
