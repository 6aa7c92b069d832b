"""DeepSeek-VL2 on any GPU with a Vulkan driver: app/vl2.h by way of ctypes. One file, nothing to compile, no dependency.

    import vl2
    model = vl2.Model("path/to/model")
    session = model.session()
    session.add_image("receipt.png")
    session.add_message("What is the total?")
    for piece in session.answer():
        print(piece.text, end="", flush=True)
    for box in session.reply().boxes:
        print(box.label, box.left, box.top, box.right, box.bottom)

The shared library is the one that the environment's VL2_LIBRARY names, or libvl2.so beside this file, or the system's.
What a function does, and what it refuses, stands in vl2.h under the same name. An error is a vl2.Error.
"""
import ctypes
import ctypes.util
import json
import os
from collections import namedtuple
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

_PROGRESS = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_uint64, c_uint64)
_PIECE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)

OK, END, BUSY = 0, 1, 2
_ERRORS = ("argument", "state", "not_found", "file", "unsupported", "out_of_memory", "context_full", "buffer_too_small",
           "no_device", "device_lost", "device", "io", "cancelled", "internal")  # -1, -2, ...
_LOAD_NO_WEIGHTS, _LOAD_NEEDS_EYES, _LOAD_TEXT_ONLY, _LOAD_ALL_ON_DEVICE, _LOAD_NO_PICTURE_CACHE = 1, 2, 4, 8, 16
_CACHE_TYPES = ("f16", "q8_0")  # in the order of vl2_cache_type
_TOKENS_CONTROL = 1
_REPLY_TAGS, _REPLY_PROBABILITIES, _REPLY_CONTINUE, _REPLY_LOOP_GUARD, _REPLY_SHARE_BEGINNING = 1, 2, 4, 8, 16
_ROLES = {"system": 0, "user": 1, "assistant": 2}
_STOP_REASONS = ("", "eos", "max_tokens", "context_full", "stopped", "loop")
PHASES = ("load", "encode", "read")
_NONE = 0xFFFFFFFF


class Error(Exception):
    """What a call of the library refused; .kind is the name of its status, "context_full" for instance."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.kind = _ERRORS[-status - 1] if -len(_ERRORS) <= status < 0 else "unknown"


# ---- Structs, field by field as in vl2.h ---------------------------------------------------------------------------------------


class _Struct(ctypes.Structure):
    def __init__(self, **values):
        super().__init__(struct_size=ctypes.sizeof(type(self)), **values)


class vl2_device_info(_Struct):
    _fields_ = [("struct_size", c_uint32), ("type", c_int), ("tier", c_uint32), ("is_chosen", c_int32), ("memory_bytes", c_uint64),
                ("name", c_char_p), ("driver", c_char_p), ("uuid", c_char_p), ("unusable", c_char_p)]


class vl2_load_options(_Struct):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("device", c_char_p), ("quantize", c_char_p),
                ("cache_folder", c_char_p), ("context_tokens", c_uint32), ("max_tiles", c_uint32), ("memory_bytes", c_uint64),
                ("prefill_tokens", c_uint32), ("reserved", c_uint32), ("progress", _PROGRESS),
                ("progress_user", c_void_p), ("cache_type", c_uint32), ("reserved2", c_uint32), ("picture_cache_bytes", c_uint64),
                ("host_memory_bytes", c_uint64)]


class vl2_picture_cache(_Struct):
    _fields_ = [("struct_size", c_uint32), ("pictures", c_uint32), ("bytes", c_uint64), ("limit_bytes", c_uint64),
                ("hits", c_uint64), ("misses", c_uint64), ("evictions", c_uint64), ("beginnings", c_uint32), ("reserved", c_uint32),
                ("beginning_hits", c_uint64)]


class vl2_model_info(_Struct):
    _fields_ = [("struct_size", c_uint32), ("vocabulary", c_uint32), ("context_tokens", c_uint32), ("max_context_tokens", c_uint32),
                ("end_token", c_uint32), ("image_token", c_uint32), ("has_eyes", c_int32), ("has_weights", c_int32),
                ("weight_bytes", c_uint64), ("session_bytes", c_uint64), ("load_ms", c_double), ("path", c_char_p),
                ("device_name", c_char_p), ("device_driver", c_char_p), ("device_uuid", c_char_p), ("device_tier", c_uint32),
                ("reserved", c_uint32), ("notice", c_char_p), ("host_weight_bytes", c_uint64), ("expert_slots", c_uint32),
                ("experts", c_uint32), ("decode_steps", c_uint64), ("decode_sessions", c_uint64),
                ("file_weight_bytes", c_uint64)]


class vl2_plan(_Struct):
    _fields_ = [("struct_size", c_uint32), ("context_tokens", c_uint32), ("weight_bytes", c_uint64), ("cache_bytes", c_uint64),
                ("working_bytes", c_uint64), ("needed_bytes", c_uint64), ("available_bytes", c_uint64), ("fits", c_int32),
                ("has_eyes", c_int32), ("device_name", c_char * 256), ("host_weight_bytes", c_uint64),
                ("expert_slots", c_uint32), ("reserved", c_uint32), ("picture_cache_bytes", c_uint64),
                ("file_weight_bytes", c_uint64)]


class vl2_picture_plan(_Struct):
    _fields_ = [("struct_size", c_uint32), ("tiles_wide", c_uint32), ("tiles_high", c_uint32), ("canvas_width", c_uint32),
                ("canvas_height", c_uint32), ("resized_width", c_uint32), ("resized_height", c_uint32), ("tokens", c_uint32)]


class vl2_small_text(_Struct):
    _fields_ = [("struct_size", c_uint32), ("letters", c_uint32), ("size", c_float), ("resized_size", c_float)]


class vl2_session_options(_Struct):
    _fields_ = [("struct_size", c_uint32), ("context_tokens", c_uint32)]


class vl2_message(_Struct):
    _fields_ = [("struct_size", c_uint32), ("role", c_int), ("text", c_void_p), ("text_bytes", c_size_t), ("first_picture", c_uint32),
                ("picture_count", c_uint32), ("is_open", c_int32), ("reserved", c_uint32)]


class vl2_picture(_Struct):
    _fields_ = [("struct_size", c_uint32), ("width", c_uint32), ("height", c_uint32), ("reserved", c_uint32), ("rgb", c_void_p)]


class vl2_alternative(ctypes.Structure):
    _fields_ = [("token_id", c_uint32), ("logprob", c_float)]


class vl2_piece(_Struct):
    _fields_ = [("struct_size", c_uint32), ("has_token", c_int32), ("text", c_void_p), ("text_bytes", c_size_t),
                ("token_index", c_uint32), ("token_id", c_uint32), ("logprob", c_float), ("alternative_count", c_uint32),
                ("alternatives", POINTER(vl2_alternative))]


class vl2_reply_options(_Struct):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("max_tokens", c_uint32), ("top_k", c_uint32), ("seed", c_uint64),
                ("temperature", c_float), ("top_p", c_float), ("min_p", c_float), ("repeat_penalty", c_float),
                ("alternative_count", c_uint32), ("reserved", c_uint32), ("progress", _PROGRESS), ("progress_user", c_void_p),
                ("piece", _PIECE), ("piece_user", c_void_p), ("schema", c_char_p), ("schema_bytes", c_size_t)]


class vl2_reply(_Struct):
    _fields_ = [("struct_size", c_uint32), ("stop_reason", c_int), ("text", c_void_p), ("text_bytes", c_size_t),
                ("tagged_text", c_void_p), ("tagged_text_bytes", c_size_t), ("plain_text", c_void_p),
                ("plain_text_bytes", c_size_t), ("token_ids", POINTER(c_uint32)), ("logprobs", POINTER(c_float)),
                ("answer_tokens", c_uint32), ("prompt_tokens", c_uint32), ("cached_tokens", c_uint32), ("picture_tokens", c_uint32),
                ("resize_ms", c_double), ("encode_ms", c_double), ("prefill_ms", c_double), ("decode_ms", c_double),
                ("encoded_views", c_uint32), ("kept_pictures", c_uint32)]


class vl2_box(_Struct):
    _fields_ = [("struct_size", c_uint32), ("left", c_uint32), ("top", c_uint32), ("right", c_uint32), ("bottom", c_uint32),
                ("thousandths", c_uint32 * 4), ("picture", c_uint32), ("first_token", c_uint32), ("token_count", c_uint32),
                ("probability", c_float), ("label", c_char_p)]


# ---- The library ---------------------------------------------------------------------------------------------------------------

# name: what it returns, what it takes. c_void_p stands for every handle.
_FUNCTIONS = {
    "vl2_version_number": (c_uint32, []),
    "vl2_version": (c_char_p, []),
    "vl2_has_feature": (c_int, [c_char_p]),
    "vl2_status_name": (c_char_p, [c_int]),
    "vl2_last_error": (c_char_p, []),
    "vl2_device_list_create": (c_int, [POINTER(c_void_p)]),
    "vl2_device_list_count": (c_uint32, [c_void_p]),
    "vl2_device_list_get": (c_int, [c_void_p, c_uint32, POINTER(vl2_device_info)]),
    "vl2_device_list_free": (None, [c_void_p]),
    "vl2_model_load": (c_int, [c_char_p, POINTER(vl2_load_options), POINTER(c_void_p)]),
    "vl2_model_load_descriptor": (c_int, [c_int, c_char_p, POINTER(vl2_load_options), POINTER(c_void_p)]),
    "vl2_model_free": (None, [c_void_p]),
    "vl2_model_last_error": (c_char_p, [c_void_p]),
    "vl2_model_get_info": (c_int, [c_void_p, POINTER(vl2_model_info)]),
    "vl2_model_get_picture_cache": (c_int, [c_void_p, POINTER(vl2_picture_cache)]),
    "vl2_model_check": (c_int, [c_void_p, c_uint32]),
    "vl2_plan_load": (c_int, [c_char_p, POINTER(vl2_load_options), POINTER(vl2_plan)]),
    "vl2_model_tokenize": (c_int, [c_void_p, c_char_p, c_size_t, c_uint32, POINTER(c_uint32), c_size_t, POINTER(c_size_t)]),
    "vl2_model_detokenize": (c_int, [c_void_p, POINTER(c_uint32), c_size_t, c_uint32, c_char_p, c_size_t, POINTER(c_size_t)]),
    "vl2_model_count_prompt": (c_int, [c_void_p, c_char_p, c_size_t, POINTER(c_uint32), c_uint32, POINTER(c_uint32)]),
    "vl2_model_token_bytes": (c_void_p, [c_void_p, c_uint32, POINTER(c_size_t)]),
    "vl2_image_decode": (c_int, [c_char_p, c_size_t, POINTER(c_void_p)]),
    "vl2_image_width": (c_uint32, [c_void_p]),
    "vl2_image_height": (c_uint32, [c_void_p]),
    "vl2_image_rgb": (c_void_p, [c_void_p]),
    "vl2_image_free": (None, [c_void_p]),
    "vl2_model_plan_picture": (c_int, [c_void_p, c_uint32, c_uint32, c_uint32, POINTER(vl2_picture_plan)]),
    "vl2_model_find_small_text": (c_int, [c_void_p, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(vl2_small_text)]),
    "vl2_session_create": (c_int, [c_void_p, POINTER(vl2_session_options), POINTER(c_void_p)]),
    "vl2_session_save": (c_int, [c_void_p, c_char_p]),
    "vl2_session_load": (c_int, [c_void_p, c_char_p, POINTER(vl2_session_options), POINTER(c_void_p)]),
    "vl2_session_free": (None, [c_void_p]),
    "vl2_session_last_error": (c_char_p, [c_void_p]),
    "vl2_session_add_image": (c_int, [c_void_p, c_char_p, c_uint32, c_uint32]),
    "vl2_session_add_image_file": (c_int, [c_void_p, c_char_p, c_size_t]),
    "vl2_session_add_message": (c_int, [c_void_p, c_int, c_char_p, c_size_t]),
    "vl2_session_message_count": (c_uint32, [c_void_p]),
    "vl2_session_get_message": (c_int, [c_void_p, c_uint32, POINTER(vl2_message)]),
    "vl2_session_picture_count": (c_uint32, [c_void_p]),
    "vl2_session_get_picture": (c_int, [c_void_p, c_uint32, POINTER(vl2_picture)]),
    "vl2_session_truncate": (c_int, [c_void_p, c_uint32]),
    "vl2_session_clear": (c_int, [c_void_p]),
    "vl2_session_count_prompt": (c_int, [c_void_p, POINTER(c_uint32)]),
    "vl2_session_token_count": (c_uint32, [c_void_p]),
    "vl2_session_context_tokens": (c_uint32, [c_void_p]),
    "vl2_session_start": (c_int, [c_void_p, POINTER(vl2_reply_options)]),
    "vl2_session_next": (c_int, [c_void_p, POINTER(vl2_piece)]),
    "vl2_session_end": (c_int, [c_void_p]),
    "vl2_session_reply": (c_int, [c_void_p, POINTER(vl2_reply_options)]),
    "vl2_session_stop": (None, [c_void_p]),
    "vl2_builtin_schema": (c_char_p, [c_char_p]),
    "vl2_check_schema": (c_int, [c_char_p, c_size_t]),
    "vl2_stop_reason_name": (c_char_p, [c_int]),
    "vl2_session_get_reply": (c_int, [c_void_p, POINTER(vl2_reply)]),
    "vl2_session_box_count": (c_uint32, [c_void_p]),
    "vl2_session_get_box": (c_int, [c_void_p, c_uint32, POINTER(vl2_box)]),
    "vl2_session_problem_count": (c_uint32, [c_void_p]),
    "vl2_session_problem": (c_char_p, [c_void_p, c_uint32]),
}


def _find_library():
    given = os.environ.get("VL2_LIBRARY")
    if given:
        return given
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libvl2.so")
    return beside if os.path.exists(beside) else ctypes.util.find_library("vl2") or "libvl2.so.0"


def _load_library():
    library = ctypes.CDLL(_find_library())
    for name, (returns, takes) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = returns, takes
    return library


_lib = _load_library()


def _check(status):
    """Raises what a call of the library refused; returns its status."""
    if status < 0:
        raise Error(status, _lib.vl2_last_error().decode())
    return status


def _text(address, byte_count):
    return ctypes.string_at(address, byte_count).decode() if byte_count else ""


def _bytes(text):
    return None if text is None else os.fsencode(text) if isinstance(text, os.PathLike) else str(text).encode()


def _schema_text(schema):
    if schema is None or isinstance(schema, bytes):
        return schema
    if not isinstance(schema, str):
        return json.dumps(schema).encode()
    return _lib.vl2_builtin_schema(schema.encode()) or schema.encode()


class _Callback:
    """A Python callable as a progress function. What it raises cancels the call, and comes out of it."""

    def __init__(self, function):
        self.error = None
        self.pointer = _PROGRESS() if function is None else _PROGRESS(lambda _, phase, done, total: self._call(function, phase, done, total))

    def _call(self, function, phase, done, total):
        try:
            return 1 if function(PHASES[phase], done, total) else 0
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error
            return 1

    def check(self, status):
        if self.error is not None:
            raise self.error
        return _check(status)


# ---- What one uses -------------------------------------------------------------------------------------------------------------

Device = namedtuple("Device", "index name driver uuid type tier memory_bytes is_chosen unusable")
Plan = namedtuple("Plan", "context_tokens weight_bytes cache_bytes working_bytes needed_bytes available_bytes fits has_eyes device_name "
                          "host_weight_bytes expert_slots picture_cache_bytes file_weight_bytes")
PicturePlan = namedtuple("PicturePlan", "tiles_wide tiles_high canvas_width canvas_height resized_width resized_height tokens")
Piece = namedtuple("Piece", "text token_id token_index logprob alternatives")  # ids and numbers None where there are none
Box = namedtuple("Box", "label left top right bottom thousandths picture probability first_token token_count")
Message = namedtuple("Message", "role text picture_count")
SmallText = namedtuple("SmallText", "letters size resized_size")
Reply = namedtuple("Reply", "text tagged_text plain_text stop_reason token_ids logprobs prompt_tokens cached_tokens picture_tokens "
                            "resize_ms encode_ms prefill_ms decode_ms boxes problems encoded_views kept_pictures")


def version():
    return _lib.vl2_version().decode()


def has_feature(name):
    return bool(_lib.vl2_has_feature(name.encode()))


def devices():
    """The Vulkan devices of this machine, a Device each."""
    handle = c_void_p()
    _check(_lib.vl2_device_list_create(byref(handle)))
    try:
        found = []
        for index in range(_lib.vl2_device_list_count(handle)):
            info = vl2_device_info()
            _check(_lib.vl2_device_list_get(handle, index, byref(info)))
            kind = ("other", "integrated", "discrete", "virtual", "cpu")[info.type]
            found.append(Device(index, info.name.decode(), info.driver.decode(), info.uuid.decode(), kind, info.tier,
                                info.memory_bytes, bool(info.is_chosen), info.unusable.decode()))
        return found
    finally:
        _lib.vl2_device_list_free(handle)


def _load_options(callback, device=None, quantize=None, cache_folder=None, context_tokens=0, weights=True, cache_type="f16",
                  picture_cache=None, memory_bytes=0, host_memory_bytes=0, max_tiles=0, prefill_tokens=0, text_only=False,
                  all_on_device=False, needs_eyes=False):
    if cache_type not in _CACHE_TYPES:
        raise ValueError("cache_type: got %r, wanted one of %s" % (cache_type, ", ".join(_CACHE_TYPES)))
    flags = ((0 if weights else _LOAD_NO_WEIGHTS) | (_LOAD_NEEDS_EYES if needs_eyes else 0) | (_LOAD_TEXT_ONLY if text_only else 0)
             | (_LOAD_ALL_ON_DEVICE if all_on_device else 0) | (_LOAD_NO_PICTURE_CACHE if picture_cache == 0 else 0))
    return vl2_load_options(flags=flags, device=_bytes(device), quantize=_bytes(quantize), cache_folder=_bytes(cache_folder),
                            context_tokens=context_tokens, max_tiles=max_tiles, memory_bytes=memory_bytes,
                            prefill_tokens=prefill_tokens, progress=callback.pointer, cache_type=_CACHE_TYPES.index(cache_type),
                            picture_cache_bytes=picture_cache or 0, host_memory_bytes=host_memory_bytes)


def plan_load(path, device=None, quantize=None, context_tokens=0, cache_type="f16", **options):
    """What the model would need on the device, and what is there: a Plan. Options as for Model()."""
    plan = vl2_plan()
    options = _load_options(_Callback(None), device, quantize, context_tokens=context_tokens, cache_type=cache_type, **options)
    _check(_lib.vl2_plan_load(_bytes(path), byref(options), byref(plan)))
    values = Plan(*(getattr(plan, name) for name in Plan._fields))
    return values._replace(fits=bool(plan.fits), has_eyes=bool(plan.has_eyes), device_name=plan.device_name.decode())


class Model:
    """A loaded model. `path` is a folder or a GGUF file, or the descriptor (an int) of an open GGUF file.

    progress(phase, done, total) returns something true to cancel; weights=False loads what counts tokens and plans pictures.
    cache_type "q8_0" keeps keys and values in 8 bits.
    picture_cache is the bytes of device memory to keep pictures in for the next question about them: 0 none, None what is left over.
    Further options have the names that they have in vl2_load_options: memory_bytes, host_memory_bytes, max_tiles, prefill_tokens;
    and in its flags: text_only, all_on_device, needs_eyes.
    """

    def __init__(self, path, device=None, quantize=None, cache_folder=None, context_tokens=0, weights=True, progress=None,
                 cache_type="f16", picture_cache=None, **options):
        self._handle = c_void_p()
        callback = _Callback(progress)
        options = _load_options(callback, device, quantize, cache_folder, context_tokens, weights, cache_type, picture_cache, **options)
        if isinstance(path, int):
            status = _lib.vl2_model_load_descriptor(path, None, byref(options), byref(self._handle))
        else:
            status = _lib.vl2_model_load(_bytes(path), byref(options), byref(self._handle))
        callback.check(status)

    def close(self):
        """Frees the model; sessions that are left go on working."""
        handle, self._handle = self._handle, c_void_p()
        _lib.vl2_model_free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()

    @property
    def info(self):
        """A dict of what vl2_model_info has."""
        info = vl2_model_info()
        _check(_lib.vl2_model_get_info(self._handle, byref(info)))
        values = {name: getattr(info, name) for name, _ in info._fields_ if name not in ("struct_size", "reserved")}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

    @property
    def picture_cache(self):
        """A dict of what vl2_picture_cache has: the pictures that the model keeps, hits and misses."""
        cache = vl2_picture_cache()
        _check(_lib.vl2_model_get_picture_cache(self._handle, byref(cache)))
        return {name: getattr(cache, name) for name, _ in cache._fields_ if name not in ("struct_size", "reserved")}

    def check(self, timeout_ms=1000):
        """Whether the device works: "ok" or "busy"; else an Error."""
        return "busy" if _check(_lib.vl2_model_check(self._handle, timeout_ms)) == BUSY else "ok"

    def tokenize(self, text, control=False):
        data, count = text.encode(), c_size_t()
        flags = _TOKENS_CONTROL if control else 0
        _check(_lib.vl2_model_tokenize(self._handle, data, len(data), flags, None, 0, byref(count)))
        ids = (c_uint32 * count.value)()
        if count.value:
            _check(_lib.vl2_model_tokenize(self._handle, data, len(data), flags, ids, count.value, byref(count)))
        return list(ids)

    def detokenize(self, ids, control=False):
        array, count = (c_uint32 * len(ids))(*ids), c_size_t()
        flags = _TOKENS_CONTROL if control else 0
        _check(_lib.vl2_model_detokenize(self._handle, array, len(ids), flags, None, 0, byref(count)))
        text = ctypes.create_string_buffer(count.value + 1)
        _check(_lib.vl2_model_detokenize(self._handle, array, len(ids), flags, text, count.value + 1, byref(count)))
        return text.raw[:count.value].decode()

    def token_bytes(self, token_id):
        """The bytes of a token, which may be a part of a character; b"" for none."""
        count = c_size_t()
        address = _lib.vl2_model_token_bytes(self._handle, token_id, byref(count))
        return ctypes.string_at(address, count.value) if address else b""

    def plan_picture(self, width, height, pictures=1):
        plan = vl2_picture_plan()
        _check(_lib.vl2_model_plan_picture(self._handle, width, height, pictures, byref(plan)))
        return PicturePlan(*(getattr(plan, name) for name in PicturePlan._fields))

    def find_small_text(self, rgb, width, height, pictures=1):
        """Text that gets too small to be read when the picture is resized: a SmallText, of 0 letters where there is none."""
        text = vl2_small_text()
        _check(_lib.vl2_model_find_small_text(self._handle, bytes(rgb), width, height, pictures, byref(text)))
        return SmallText(text.letters, text.size, text.resized_size)

    def count_prompt(self, text, picture_tokens=()):
        """Tokens of the prompt that a first message of this text and pictures of so many tokens makes."""
        data, count = text.encode(), c_uint32()
        pictures = (c_uint32 * len(picture_tokens))(*picture_tokens)
        _check(_lib.vl2_model_count_prompt(self._handle, data, len(data), pictures, len(picture_tokens), byref(count)))
        return count.value

    def session(self, context_tokens=0, path=None):
        """A new conversation, or the one that Session.save() wrote to `path`."""
        return Session(self, context_tokens, path)


class Session:
    """One conversation. Used by one thread at a time, but for stop()."""

    def __init__(self, model, context_tokens=0, path=None):
        self._handle = c_void_p()
        options = vl2_session_options(context_tokens=context_tokens)
        if path is None:
            _check(_lib.vl2_session_create(model._handle, byref(options), byref(self._handle)))
        else:
            _check(_lib.vl2_session_load(model._handle, _bytes(path), byref(options), byref(self._handle)))

    def save(self, path):
        """Writes the conversation to a file, from which Model.session(path=...) goes on."""
        _check(_lib.vl2_session_save(self._handle, _bytes(path)))

    def close(self):
        handle, self._handle = self._handle, c_void_p()
        _lib.vl2_session_free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None):
            self.close()

    def add_image(self, image):
        """Adds a picture to the next message: a path, the bytes of a picture file, or an image of Pillow."""
        if hasattr(image, "convert") and hasattr(image, "tobytes"):
            rgb = image.convert("RGB")
            _check(_lib.vl2_session_add_image(self._handle, rgb.tobytes(), *rgb.size))
            return
        if not isinstance(image, (bytes, bytearray)):
            with open(image, "rb") as file:
                image = file.read()
        _check(_lib.vl2_session_add_image_file(self._handle, bytes(image), len(image)))

    def add_message(self, text, role="user"):
        if role not in _ROLES:
            raise ValueError(f"role {role!r}, wanted one of {', '.join(_ROLES)}")
        data = text.encode()
        _check(_lib.vl2_session_add_message(self._handle, _ROLES[role], data, len(data)))

    @property
    def message_count(self):
        return _lib.vl2_session_message_count(self._handle)

    @property
    def messages(self):
        """Every message: a Message, its role and its text, answers with their grounding tags."""
        found = []
        for index in range(self.message_count):
            message = vl2_message()
            _check(_lib.vl2_session_get_message(self._handle, index, byref(message)))
            role = next(name for name, number in _ROLES.items() if number == message.role)
            found.append(Message(role, _text(message.text, message.text_bytes), message.picture_count))
        return found

    @property
    def token_count(self):
        return _lib.vl2_session_token_count(self._handle)

    @property
    def context_tokens(self):
        return _lib.vl2_session_context_tokens(self._handle)

    def count_prompt(self):
        tokens = c_uint32()
        _check(_lib.vl2_session_count_prompt(self._handle, byref(tokens)))
        return tokens.value

    def truncate(self, message_count):
        _check(_lib.vl2_session_truncate(self._handle, message_count))

    def clear(self):
        _check(_lib.vl2_session_clear(self._handle))

    def stop(self):
        """Stops the answer that is being given. Any thread."""
        _lib.vl2_session_stop(self._handle)

    def answer(self, max_tokens=0, temperature=0.0, top_k=0, top_p=0.0, min_p=0.0, repeat_penalty=0.0, seed=0, tags=False,
               probabilities=False, alternatives=0, go_on=False, progress=None, schema=None, share_beginning=False, loop_guard=False):
        """Reads the messages, then gives the answer piece by piece: an iterator of Piece. Leaving it early ends the answer.

        progress(phase, done, total) is told of pictures ("encode") and tokens ("read") and returns something true to cancel.
        schema is a JSON Schema that the answer is of: its text, a dict, or the name of one that the library brings along.
        With loop_guard an answer that repeats itself is ended: Reply.stop_reason is "loop".
        """
        callback = _Callback(progress)
        schema = _schema_text(schema)
        flags = ((_REPLY_TAGS if tags else 0) | (_REPLY_PROBABILITIES if probabilities else 0) | (_REPLY_CONTINUE if go_on else 0)
                 | (_REPLY_LOOP_GUARD if loop_guard else 0) | (_REPLY_SHARE_BEGINNING if share_beginning else 0))
        options = vl2_reply_options(flags=flags, max_tokens=max_tokens, top_k=top_k, seed=seed, temperature=temperature,
                                    top_p=top_p, min_p=min_p, repeat_penalty=repeat_penalty, alternative_count=alternatives,
                                    progress=callback.pointer, schema=schema, schema_bytes=0 if schema is None else len(schema))
        callback.check(_lib.vl2_session_start(self._handle, byref(options)))
        return self._pieces(probabilities)

    def _pieces(self, probabilities):
        raw = vl2_piece()
        try:
            while _check(_lib.vl2_session_next(self._handle, byref(raw))) != END:
                text = _text(raw.text, raw.text_bytes)
                if not raw.has_token:
                    yield Piece(text, None, None, None, [])
                    continue
                others = [(raw.alternatives[i].token_id, raw.alternatives[i].logprob) for i in range(raw.alternative_count)]
                yield Piece(text, raw.token_id, raw.token_index, raw.logprob if probabilities else None, others)
        finally:
            if self._handle:
                _lib.vl2_session_end(self._handle)

    def ask(self, text, images=(), **options):
        """A user's message with pictures, answered as a whole: a Reply. Options as for answer()."""
        for image in images:
            self.add_image(image)
        self.add_message(text)
        for _ in self.answer(**options):
            pass
        return self.reply()

    def reply(self):
        """The answer as far as it was given: a Reply."""
        raw = vl2_reply()
        _check(_lib.vl2_session_get_reply(self._handle, byref(raw)))
        count = raw.answer_tokens
        problems = [_lib.vl2_session_problem(self._handle, i).decode() for i in range(_lib.vl2_session_problem_count(self._handle))]
        return Reply(_text(raw.text, raw.text_bytes), _text(raw.tagged_text, raw.tagged_text_bytes),
                     _text(raw.plain_text, raw.plain_text_bytes), _STOP_REASONS[raw.stop_reason], raw.token_ids[:count] if count else [],
                     raw.logprobs[:count] if raw.logprobs else None, raw.prompt_tokens, raw.cached_tokens, raw.picture_tokens,
                     raw.resize_ms, raw.encode_ms, raw.prefill_ms, raw.decode_ms, self._boxes(), problems, raw.encoded_views,
                     raw.kept_pictures)

    def _boxes(self):
        boxes = []
        for index in range(_lib.vl2_session_box_count(self._handle)):
            raw = vl2_box()
            _check(_lib.vl2_session_get_box(self._handle, index, byref(raw)))
            boxes.append(Box(raw.label.decode(), raw.left, raw.top, raw.right, raw.bottom, tuple(raw.thousandths),
                             None if raw.picture == _NONE else raw.picture, None if raw.probability < 0 else raw.probability,
                             raw.first_token, raw.token_count))
        return boxes
