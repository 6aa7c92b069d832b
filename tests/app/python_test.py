#!/usr/bin/env python3
"""app/python/vl2.py against app/vl2.h and the demo model: python3 tests/app/python_test.py, with VL2_LIBRARY set."""
import ctypes
import json
import os
import re
import sys
import tempfile
import threading
import unittest
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "app", "python"))
import vl2  # noqa: E402  pylint: disable=wrong-import-position

PICO = os.path.join(ROOT, "app", "demo", "pico")
PICTURES = os.path.join(ROOT, "app", "demo", "pictures")

with open(os.path.join(ROOT, "app", "vl2.h"), encoding="utf-8") as file:
    HEADER = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)

C_TYPES = {"uint32_t": ctypes.c_uint32, "int32_t": ctypes.c_int32, "uint64_t": ctypes.c_uint64, "float": ctypes.c_float,
           "double": ctypes.c_double, "size_t": ctypes.c_size_t}


def header_fields(name):
    """The fields of a struct of the header: [(name, C type, length of an array or 0)]."""
    body = re.search(r"typedef struct %s \{(.*?)\} %s;" % (name, name), HEADER, re.S).group(1)
    fields = []
    for line in filter(None, (part.strip() for part in body.split(";"))):
        kind, names = re.match(r"((?:const )?\w+\*?) (.*)", line, re.S).groups()
        for field in names.split(","):
            base, length = re.match(r"\s*\*?(\w+)(?:\[(\d+)\])?", field).groups()
            fields.append((base, kind, int(length or 0)))
    return fields


def session_with(**arguments):
    return vl2.Session(mock.Mock(), **arguments)


def answer_with(**arguments):
    return session_with().answer(**arguments)


# Each struct of options: who makes one, and for each field and flag the arguments that set it; None for the callback in whose
# stead there is an iterator.
GIVEN = {
    "vl2_load_options": (lambda **arguments: vl2.Model("model", **arguments), {
        "device": {"device": "a"}, "quantize": {"quantize": "a"}, "cache_folder": {"cache_folder": "a"},
        "context_tokens": {"context_tokens": 1}, "max_tiles": {"max_tiles": 1}, "memory_bytes": {"memory_bytes": 1},
        "prefill_tokens": {"prefill_tokens": 1}, "progress": {"progress": print}, "cache_type": {"cache_type": "q8_0"},
        "picture_cache_bytes": {"picture_cache": 1}, "host_memory_bytes": {"host_memory_bytes": 1},
        "VL2_LOAD_NO_WEIGHTS": {"weights": False}, "VL2_LOAD_NEEDS_EYES": {"needs_eyes": True},
        "VL2_LOAD_TEXT_ONLY": {"text_only": True}, "VL2_LOAD_ALL_ON_DEVICE": {"all_on_device": True},
        "VL2_LOAD_NO_PICTURE_CACHE": {"picture_cache": 0}}),
    "vl2_session_options": (session_with, {"context_tokens": {"context_tokens": 1}}),
    "vl2_reply_options": (answer_with, {
        "max_tokens": {"max_tokens": 1}, "top_k": {"top_k": 1}, "seed": {"seed": 1}, "temperature": {"temperature": 1},
        "top_p": {"top_p": 1}, "min_p": {"min_p": 1}, "repeat_penalty": {"repeat_penalty": 1},
        "alternative_count": {"alternatives": 1}, "progress": {"progress": print}, "piece": None, "schema": {"schema": {}},
        "schema_bytes": {"schema": {}}, "VL2_REPLY_TAGS": {"tags": True}, "VL2_REPLY_PROBABILITIES": {"probabilities": True},
        "VL2_REPLY_CONTINUE": {"go_on": True}, "VL2_REPLY_LOOP_GUARD": {"loop_guard": True},
        "VL2_REPLY_SHARE_BEGINNING": {"share_beginning": True}})}


class Binding(unittest.TestCase):
    def test_every_struct_is_the_headers_field_by_field(self):
        structs = [name for name in re.findall(r"typedef struct (\w+) \{", HEADER)]
        self.assertGreater(len(structs), 10)
        for name in structs:
            mine = getattr(vl2, name)._fields_
            theirs = header_fields(name)
            self.assertEqual([field[0] for field in mine], [field[0] for field in theirs], name)
            for (field, mine_type), (_, kind, length) in zip(mine, theirs):
                size = 8 if kind.endswith("*") or kind.endswith("_fn") else ctypes.sizeof(C_TYPES.get(kind, ctypes.c_int))
                size = length if kind == "char" else size * (length or 1)
                self.assertEqual(ctypes.sizeof(mine_type), size, name + "." + field)
                if kind in C_TYPES and not length:
                    self.assertIs(mine_type, C_TYPES[kind], name + "." + field)

    def test_every_function_is_there_with_its_number_of_arguments(self):
        found = dict(re.findall(r"VL2_API [\w *]*?(vl2_\w+)\(([^)]*)\)", HEADER))
        self.assertEqual(set(found), set(vl2._FUNCTIONS))
        for name, arguments in found.items():
            count = 0 if arguments.strip() == "void" else arguments.count(",") + 1
            self.assertEqual(len(vl2._FUNCTIONS[name][1]), count, name)

    def test_every_option_can_be_given(self):
        structs = [name for name in re.findall(r"typedef struct (vl2_\w+_options) \{", HEADER)]
        self.assertEqual(structs, list(GIVEN))
        flags = dict.fromkeys(re.findall(r"VL2_(?:LOAD|REPLY)_\w+(?= = )", HEADER))
        for struct, (call, given) in GIVEN.items():
            fields = [name for name, _, _ in header_fields(struct) if not re.match(r"struct_size|reserved|\w+_user$", name)]
            self.assertEqual(set(given) - set(flags) | {"flags"}, set(fields) | {"flags"}, struct)
            default = self.options_of(call, {})
            for field, arguments in given.items():
                options = self.options_of(call, arguments)
                if field in flags:
                    value = re.search(field + r" = (\d+)", HEADER).group(1)
                    self.assertEqual(options.flags, int(value), field)
                    flags.pop(field)
                elif arguments is not None:
                    self.assertNotEqual(self.value_of(options, field), self.value_of(default, field), field)
        self.assertEqual(list(flags), [])

    @staticmethod
    def value_of(options, field):
        value = getattr(options, field)
        return bool(value) if callable(value) else value

    @staticmethod
    def options_of(call, arguments):
        """What the library is given, but for what it does with it."""
        taken = []

        def take(*passed):
            taken.extend(one._obj for one in passed if type(getattr(one, "_obj", None)).__name__.endswith("_options"))
            return 0
        with mock.patch.object(vl2, "_lib", **{name + ".side_effect": take for name in
                                               ("vl2_model_load", "vl2_session_create", "vl2_session_start")}):
            call(**(arguments or {}))
        return taken[-1]

    def test_every_status_has_its_number(self):
        for name, value in re.findall(r"VL2_ERROR_(\w+) = (-\d+)", HEADER):
            self.assertEqual(vl2.Error(int(value), "").kind, name.lower())


class Words(unittest.TestCase):
    def test_tokens_come_back_as_text(self):
        with vl2.Model(PICO, weights=False) as model:
            ids = model.tokenize("What is the total of \u00e9? 12")
            self.assertGreater(len(ids), 3)
            self.assertEqual(model.detokenize(ids), "What is the total of \u00e9? 12")
            self.assertEqual(b"".join(map(model.token_bytes, ids)).decode(), "What is the total of \u00e9? 12")
            self.assertEqual(model.tokenize("<image>", control=True), [model.info["image_token"]])
            self.assertEqual(model.tokenize(""), [])
            self.assertEqual(model.plan_picture(1150, 380).tokens, 813)
            self.assertEqual(model.find_small_text(bytes(60 * 40 * 3), 60, 40).letters, 0)
            self.assertEqual(model.count_prompt("Hello <image>", [421]) - model.count_prompt("Hello <image>", [1]), 420)
            with self.assertRaises(vl2.Error) as refused:
                model.session()
            self.assertEqual(refused.exception.kind, "state")

    def test_errors_say_what_was_wanted(self):
        with self.assertRaises(vl2.Error) as refused:
            vl2.Model("/no/such/model")
        self.assertEqual(refused.exception.kind, "not_found")
        self.assertIn("/no/such/model", str(refused.exception))


class Talk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.steps = []
        cls.model = vl2.Model(PICO, progress=lambda phase, done, total: cls.steps.append((phase, done, total)))

    def test_devices_and_plan(self):
        self.assertEqual(sum(device.is_chosen for device in vl2.devices()), 1)
        plan = vl2.plan_load(PICO, context_tokens=256)
        eight = vl2.plan_load(PICO, context_tokens=256, cache_type="q8_0")
        self.assertEqual(eight.cache_bytes, 6 * 256 * (160 + 3 * 4))  # codes, and scales for 5 blocks in 3 words
        self.assertLess(eight.cache_bytes, plan.cache_bytes)
        self.assertRaises(ValueError, vl2.plan_load, PICO, cache_type="q4_0")
        self.assertTrue(plan.fits)
        self.assertEqual(plan.needed_bytes, plan.weight_bytes + plan.cache_bytes + plan.working_bytes)
        self.assertEqual(self.model.check(), "ok")
        self.assertEqual(self.steps[-1][0], "load")
        self.assertEqual(self.steps[-1][1], self.steps[-1][2])

    def test_every_struct_has_the_size_that_the_library_says(self):
        lib, said = vl2._lib, {}
        with self.model.session(context_tokens=512) as session:
            session.ask("<|ref|>the blue circle<|/ref|>.", [os.path.join(PICTURES, "scene.png")])
            devices, out = ctypes.c_void_p(), ctypes.c_void_p()
            lib.vl2_device_list_create(ctypes.byref(devices))
            model, talk, pixel = self.model._handle, session._handle, bytes(3)
            for name, call in {
                    "vl2_device_info": lambda struct: lib.vl2_device_list_get(devices, 0, struct),
                    "vl2_load_options": lambda struct: lib.vl2_model_load(PICO.encode(), struct, ctypes.byref(out)),
                    "vl2_picture_cache": lambda struct: lib.vl2_model_get_picture_cache(model, struct),
                    "vl2_model_info": lambda struct: lib.vl2_model_get_info(model, struct),
                    "vl2_plan": lambda struct: lib.vl2_plan_load(PICO.encode(), None, struct),
                    "vl2_picture_plan": lambda struct: lib.vl2_model_plan_picture(model, 1, 1, 1, struct),
                    "vl2_small_text": lambda struct: lib.vl2_model_find_small_text(model, pixel, 1, 1, 1, struct),
                    "vl2_session_options": lambda struct: lib.vl2_session_create(model, struct, ctypes.byref(out)),
                    "vl2_message": lambda struct: lib.vl2_session_get_message(talk, 0, struct),
                    "vl2_picture": lambda struct: lib.vl2_session_get_picture(talk, 0, struct),
                    "vl2_piece": lambda struct: lib.vl2_session_next(talk, struct),
                    "vl2_reply_options": lambda struct: lib.vl2_session_start(talk, struct),
                    "vl2_reply": lambda struct: lib.vl2_session_get_reply(talk, struct),
                    "vl2_box": lambda struct: lib.vl2_session_get_box(talk, 0, struct)}.items():
                struct = getattr(vl2, name)()
                struct.struct_size = 0
                self.assertLess(call(ctypes.byref(struct)), 0, name)
                said[name] = re.search(r"wanted sizeof\((\w+)\), (\d+)$", lib.vl2_last_error().decode()).groups()
            lib.vl2_device_list_free(devices)
        self.assertEqual(said, {name: (name, str(ctypes.sizeof(getattr(vl2, name)))) for name in said})
        self.assertEqual(set(re.findall(r"typedef struct (\w+) \{", HEADER)) - set(said), {"vl2_alternative"})  # which never grows

    def test_a_picture_is_kept_for_the_next_question(self):
        picture = os.path.join(PICTURES, "form.png")
        before, replies = self.model.picture_cache, []
        for share in (True, True, False):
            with self.model.session() as session:
                replies.append(session.ask("What is the total?", [picture], share_beginning=share))
        self.assertEqual([reply.encoded_views for reply in replies], [1, 0, 0])
        self.assertEqual([reply.kept_pictures for reply in replies], [0, 0, 1])
        self.assertEqual([reply.cached_tokens > 421 for reply in replies], [False, True, False])
        self.assertEqual(len({reply.text for reply in replies}), 1)
        cache = self.model.picture_cache
        self.assertEqual([cache[name] - before[name] for name in ("hits", "misses", "beginning_hits")], [1, 1, 1])
        self.assertTrue(0 < cache["bytes"] <= cache["limit_bytes"])
        with vl2.Model(PICO, weights=False, picture_cache=0) as words:
            self.assertEqual(words.picture_cache["limit_bytes"], 0)

    def test_a_picture_is_answered_with_a_box(self):
        with self.model.session() as session:
            steps = []
            reply = session.ask("<|ref|>the blue circle<|/ref|>.", [os.path.join(PICTURES, "scene.png")], probabilities=True,
                                progress=lambda *step: steps.append(step))
            self.assertIn("<|det|>", reply.tagged_text)
            self.assertEqual([box.label for box in reply.boxes], ["the blue circle"])
            self.assertEqual(list(reply.boxes[0].thousandths), [637, 665, 905, 927])
            self.assertTrue(0 < reply.boxes[0].probability <= 1)
            self.assertEqual(len(reply.logprobs), len(reply.token_ids))
            self.assertEqual(reply.stop_reason, "eos")
            self.assertEqual(steps[0], ("encode", 0, 1))

    def test_the_readme_says_what_works(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as text:
            code = re.search(r"```python\n(.*?)```", text.read(), re.S).group(1)
        said = []
        here = os.getcwd()
        os.chdir(ROOT)
        try:
            exec(code, {"print": said.append})  # pylint: disable=exec-used
        finally:
            os.chdir(here)
        self.assertEqual(said, ["$641.56"])

    def test_pieces_are_the_answer_and_leaving_ends_it(self):
        with self.model.session(context_tokens=512) as session:
            session.add_message("Tell me everything.")
            pieces = list(session.answer(max_tokens=12, temperature=2, seed=3, probabilities=True, alternatives=2))
            self.assertEqual("".join(piece.text for piece in pieces), session.reply().text)
            self.assertTrue(all(piece.logprob <= 0 and len(piece.alternatives) == 2 for piece in pieces if piece.token_id is not None))
            session.truncate(1)
            for _ in session.answer(temperature=2, seed=3):
                break
            self.assertEqual(session.reply().stop_reason, "stopped")
            self.assertEqual(session.message_count, 2)

    def test_a_schema_makes_json(self):
        with self.model.session(context_tokens=512) as session:
            session.add_message("Tell me everything.")
            schema = {"type": "object", "properties": {"b": {"type": "string", "maxLength": 5}, "a": {"type": "boolean"}},
                      "required": ["b", "a"], "additionalProperties": False}
            for given in schema, json.dumps(schema):
                value = json.loads("".join(piece.text for piece in session.answer(temperature=2, seed=4, schema=given)))
                self.assertEqual(list(value), ["b", "a"])
                self.assertIsInstance(value["a"], bool)
                session.truncate(1)
            self.assertRegex("".join(piece.text for piece in session.answer(max_tokens=4, schema="kv")), r"^ ?\[")
            session.truncate(1)
            with self.assertRaisesRegex(vl2.Error, "pattern"):
                session.answer(schema={"type": "string", "pattern": "a"})

    def test_a_saved_conversation_goes_on(self):
        with tempfile.TemporaryDirectory() as folder, self.model.session() as session:
            path = os.path.join(folder, "talk")
            session.ask("<|ref|>the blue circle<|/ref|>.", [os.path.join(PICTURES, "scene.png")])
            session.save(path)
            with self.model.session(path=path) as restored:
                self.assertEqual([tuple(message) for message in restored.messages],
                                 [("user", "<|ref|>the blue circle<|/ref|>.", 1), ("assistant", session.reply().tagged_text, 0)])
                self.assertEqual(restored.reply().boxes, session.reply().boxes)
                answers = [talk.ask("How many circles are there?", temperature=2, seed=4, max_tokens=9, probabilities=True)
                           for talk in (session, restored)]
            self.assertEqual(answers[0].token_ids, answers[1].token_ids)
            self.assertEqual(answers[0].logprobs, answers[1].logprobs)
            self.assertGreater(answers[1].cached_tokens, 421)
            with self.assertRaises(vl2.Error) as refused:
                self.model.session(path=os.path.join(PICTURES, "scene.png"))
            self.assertEqual(refused.exception.kind, "file")

    def test_stop_from_another_thread(self):
        with self.model.session() as session:
            session.add_message("Tell me everything.")
            given = 0
            for _ in session.answer(temperature=2, seed=1):
                given += 1
                if given == 3:
                    other = threading.Thread(target=session.stop)
                    other.start()
                    other.join()
            self.assertEqual(session.reply().stop_reason, "stopped")
            self.assertEqual(len(session.reply().token_ids), 3)

    def test_what_a_callback_raises_comes_out(self):
        def fail(*_):
            raise KeyError("mine")
        with self.assertRaises(KeyError):
            vl2.Model(PICO, progress=fail)
        with self.assertRaises(vl2.Error) as refused:
            vl2.Model(PICO, progress=lambda *_: True)
        self.assertEqual(refused.exception.kind, "cancelled")


if __name__ == "__main__":
    unittest.main()
