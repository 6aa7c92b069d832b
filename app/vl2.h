/* vl2: DeepSeek-VL2 on any GPU with a Vulkan driver. The whole public API, for C and C++.
 *
 *   vl2_load_options load = {.struct_size = sizeof(load)};
 *   vl2_model* model = NULL;
 *   vl2_session* session = NULL;
 *   if (vl2_model_load("path/to/model", &load, &model) != VL2_OK) { puts(vl2_last_error()); return 1; }
 *   vl2_session_create(model, NULL, &session);
 *   vl2_session_add_image_file(session, bytes, byte_count);
 *   vl2_session_add_message(session, VL2_ROLE_USER, "What does it say?", VL2_NUL_TERMINATED);
 *   vl2_session_reply(session, NULL);
 *   vl2_reply reply = {.struct_size = sizeof(reply)};
 *   vl2_session_get_reply(session, &reply);
 *   puts(reply.text);
 *   vl2_session_free(session);
 *   vl2_model_free(model);
 *
 * Structs    begin with struct_size, which the caller sets to sizeof of the struct. All other bytes 0 is the default of every
 *            option. A struct of an older header gets the defaults for what it lacks; of a newer one, what this library does not
 *            know must be 0. Of structs that the library fills, it fills what the caller's struct_size covers.
 * Strings    are UTF-8. A text that goes in has its length in bytes, or VL2_NUL_TERMINATED.
 * Pointers   that come out belong to the handle they come from and say how long they last.
 * Errors     every call that can fail returns a vl2_status. On an error nothing has changed, out parameters are untouched (a
 *            handle's is set to NULL), and one line says "where: what it got, what it wanted": vl2_last_error() for the last call
 *            that failed on this thread, vl2_model_last_error() and vl2_session_last_error() for the last on that handle. No
 *            call prints, exits, throws, or installs a signal handler.
 * Threads    a model may be used by any number of threads at once. A session is used by one thread at a time, except for
 *            vl2_session_stop(). Sessions of one model may be used by different threads at the same time: their work on the
 *            device takes turns, a step of the answer or a piece of the prompt each, in the order in which they come. Those
 *            that want their next tokens at the same time get them in one step, which reads the weights once; what a session
 *            is answered does not depend on who else is in it.
 * Callbacks  run on the calling thread, before the call returns. They may call vl2_session_stop() and the functions of the model
 *            and of images, but no other function of the session that calls them. They must not throw.
 */
#ifndef VL2_H
#define VL2_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(VL2_BUILDS_SHARED)
#define VL2_API __declspec(dllexport)
#elif defined(__GNUC__)
#define VL2_API __attribute__((visibility("default")))
#else
#define VL2_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version and features ------------------------------------------------------------------------------------------------- */

#define VL2_VERSION_MAJOR 0
#define VL2_VERSION_MINOR 1
#define VL2_VERSION_PATCH 0

/* The version of the library that runs, which may be another than the header's: major * 1000000 + minor * 1000 + patch. */
VL2_API uint32_t vl2_version_number(void);
/* The same as text, "0.1.0". */
VL2_API const char* vl2_version(void);

/* 1 if this library has a feature, else 0; 0 for a name it does not know, or NULL.
 *
 * name  "png", "jpeg", "webp", "bmp": pictures that are decoded; "gguf", "safetensors": models that are read;
 *       "descriptor": vl2_model_load_descriptor(); "probabilities": VL2_REPLY_PROBABILITIES; "schema": vl2_reply_options.schema;
 *       "loop_guard": VL2_REPLY_LOOP_GUARD
 */
VL2_API int vl2_has_feature(const char* name);

/* ---- Status --------------------------------------------------------------------------------------------------------------- */

typedef enum vl2_status {
  VL2_OK = 0,
  VL2_END = 1,                     /* the answer is complete: vl2_session_next() has nothing more */
  VL2_BUSY = 2,                    /* vl2_model_check(): others had the device all the time */
  VL2_ERROR_ARGUMENT = -1,         /* a value makes no sense: NULL, a size of 0, text that is not UTF-8 */
  VL2_ERROR_STATE = -2,            /* not now: the order of calls is wrong */
  VL2_ERROR_NOT_FOUND = -3,        /* a file, device or token does not exist */
  VL2_ERROR_FILE = -4,             /* a file or picture is malformed, truncated or contradicts itself */
  VL2_ERROR_UNSUPPORTED = -5,      /* well-formed, but not something this library or device can do */
  VL2_ERROR_OUT_OF_MEMORY = -6,    /* host or device memory does not suffice */
  VL2_ERROR_CONTEXT_FULL = -7,     /* more tokens than the context holds */
  VL2_ERROR_BUFFER_TOO_SMALL = -8, /* what the caller gave room for; the size that is needed comes back */
  VL2_ERROR_NO_DEVICE = -9,        /* no usable Vulkan device */
  VL2_ERROR_DEVICE_LOST = -10,     /* the driver gave up: free the model and load it again */
  VL2_ERROR_DEVICE = -11,          /* any other error of the driver */
  VL2_ERROR_IO = -12,              /* the operating system refused to read or write */
  VL2_ERROR_CANCELLED = -13,       /* a callback or vl2_session_stop() ended the call before it had a result */
  VL2_ERROR_INTERNAL = -14         /* a mistake of this library */
} vl2_status;

/* "ok", "context_full": for logs. Never NULL. */
VL2_API const char* vl2_status_name(vl2_status status);

/* The message of the last call that failed on this thread, "" before the first. Valid until the next call fails on it. */
VL2_API const char* vl2_last_error(void);

#define VL2_NUL_TERMINATED ((size_t)-1)

/* ---- Devices -------------------------------------------------------------------------------------------------------------- */

typedef enum vl2_device_type {
  VL2_DEVICE_OTHER = 0,
  VL2_DEVICE_INTEGRATED = 1,
  VL2_DEVICE_DISCRETE = 2,
  VL2_DEVICE_VIRTUAL = 3,
  VL2_DEVICE_CPU = 4
} vl2_device_type;

/* The Vulkan devices of this machine as they were when it was made. */
typedef struct vl2_device_list vl2_device_list;

typedef struct vl2_device_info {
  uint32_t struct_size;
  vl2_device_type type;
  uint32_t tier;         /* 0..4: which kernels it can run */
  int32_t is_chosen;     /* 1: what vl2_load_options.device = NULL would take */
  uint64_t memory_bytes; /* of its own; of a CPU or an integrated GPU the share of the machine's that it may use */
  const char* name;      /* strings: as long as the list */
  const char* driver;    /* name and version */
  const char* uuid;      /* 32 hexadecimal digits: stays the same over restarts */
  const char* unusable;  /* why it cannot be used; "" if it can */
} vl2_device_info;

/* Lists the devices. Takes the time of starting every driver, some tenths of a second.
 *
 * Returns  VL2_OK, also for no devices at all; VL2_ERROR_NO_DEVICE where there is no Vulkan loader
 */
VL2_API vl2_status vl2_device_list_create(vl2_device_list** list);
/* 0 for NULL. */
VL2_API uint32_t vl2_device_list_count(const vl2_device_list* list);
/* index  0 .. count - 1; also what vl2_load_options.device takes as a number */
VL2_API vl2_status vl2_device_list_get(const vl2_device_list* list, uint32_t index, vl2_device_info* info);
/* NULL is fine. */
VL2_API void vl2_device_list_free(vl2_device_list* list);

/* ---- Progress ------------------------------------------------------------------------------------------------------------- */

typedef enum vl2_phase {
  VL2_PHASE_LOAD = 0,   /* done, total: bytes of weights */
  VL2_PHASE_ENCODE = 1, /* done, total: pictures of this call; told before each one, and while one takes long */
  VL2_PHASE_READ = 2    /* done, total: tokens of the prompt, those to be read; told before each part and at the end, if any */
} vl2_phase;

/* Told now and then how far a long call is. Returns 0 to go on; anything else cancels the call: VL2_ERROR_CANCELLED. */
typedef int (*vl2_progress_fn)(void* user, vl2_phase phase, uint64_t done, uint64_t total);

/* ---- Models --------------------------------------------------------------------------------------------------------------- */

/* A model in the memory of a device: configuration, tokenizer, weights. Sessions keep what they need of it alive. */
typedef struct vl2_model vl2_model;

enum {
  VL2_LOAD_NO_WEIGHTS = 1,    /* configuration and tokenizer only, and no device: for tokens and pictures to be counted */
  VL2_LOAD_TEXT_ONLY = 4,     /* no picture will be shown: the plan before loading need not hold one */
  VL2_LOAD_ALL_ON_DEVICE = 8, /* refuse a model that does not fit, rather than keep experts in host memory or the file: slower */
  VL2_LOAD_NEEDS_EYES = 2,    /* refuse a model that cannot see (a text-only GGUF file) before anything is loaded */
  VL2_LOAD_NO_PICTURE_CACHE = 16 /* keep no pictures: vl2_model_get_picture_cache() */
};

/* How sessions store keys and values of the tokens they hold. */
typedef enum vl2_cache_type {
  VL2_CACHE_F16 = 0, /* as the device computes: f32 where that is without f16 */
  VL2_CACHE_Q8_0 = 1 /* 8 bits, and a scale for every 32: a good half of the memory, answers as good as the same */
} vl2_cache_type;

/* What is NULL or 0 here is taken from the environment, as the program `vl2` does: VL2_DEVICE, VL2_TIER, VL2_CACHE_DIR, ... */
typedef struct vl2_load_options {
  uint32_t struct_size;
  uint32_t flags;           /* VL2_LOAD_*, or-ed */
  const char* device;       /* index, UUID or a part of a name; NULL: the best one */
  const char* quantize;     /* turn weights into this while reading them: "Q8_0", "Q4_K_M", ...; NULL: as they are */
  const char* cache_folder; /* where compiled kernels are kept between runs; "": nowhere; NULL: ~/.cache/vl2 */
  uint32_t context_tokens;  /* the most that a session holds; 0: as many as the model can */
  uint32_t max_tiles;       /* of a picture: less memory, fewer tokens, less detail; 0: as many as the model takes */
  uint64_t memory_bytes;    /* of the device's memory to make do with; 0: all there is */
  uint32_t prefill_tokens;  /* that are read at a time: fewer take less memory; 0: what suits the device */
  uint32_t reserved;        /* 0 */
  vl2_progress_fn progress; /* may be NULL */
  void* progress_user;
  uint32_t cache_type; /* vl2_cache_type */
  uint32_t reserved2;  /* 0 */
  uint64_t picture_cache_bytes; /* of the device's memory to keep pictures in, which the model must fit beside; 0: a quarter of
                                   what it leaves, 256 MiB at most */
  uint64_t host_memory_bytes;   /* that experts may take, where they do not fit on the device. What is over stays in the file: it is
                                   read whenever a token wants it, which takes as long as the disk does, and the file must stay
                                   as it is while the model is used (the call that meets a change fails with VL2_ERROR_IO).
                                   0: what is free. Given, experts may go there on devices that share the host's memory, too */
} vl2_load_options;

/* Loads a model.
 *
 * path     a folder with config.json, tokenizer.json and *.safetensors, or a GGUF file
 * options  NULL: all defaults
 * model    gets the model, or NULL on an error; vl2_model_free() it
 * Returns  VL2_ERROR_NOT_FOUND, _IO, _FILE, _UNSUPPORTED: the files, by name; VL2_ERROR_ARGUMENT: options, by name;
 *          VL2_ERROR_NO_DEVICE; VL2_ERROR_OUT_OF_MEMORY, with the plan, before anything is loaded; VL2_ERROR_CANCELLED
 */
VL2_API vl2_status vl2_model_load(const char* path, const vl2_load_options* options, vl2_model** model);

/* The same for an open GGUF file, where a path is of no use (Android, sandboxes).
 *
 * descriptor  of a regular file, open for reading; its position does not matter and does not change. It is duplicated: close
 *             it whenever you like
 * name        how messages call the file; NULL: "descriptor 7"
 */
VL2_API vl2_status vl2_model_load_descriptor(int descriptor, const char* name, const vl2_load_options* options,
                                             vl2_model** model);

/* NULL is fine. Sessions that are left go on working; the memory goes with the last of them. */
VL2_API void vl2_model_free(vl2_model* model);

/* The message of the last call that failed on this model in any thread; "" before the first, and for NULL. Valid until this
 * function is called again on this thread. */
VL2_API const char* vl2_model_last_error(const vl2_model* model);

typedef struct vl2_model_info {
  uint32_t struct_size;
  uint32_t vocabulary;         /* ids are 0 .. vocabulary - 1 */
  uint32_t context_tokens;     /* the most that a session holds */
  uint32_t max_context_tokens; /* the most that the model can */
  uint32_t end_token;          /* the id that ends an answer */
  uint32_t image_token;        /* the id that stands for a row of a picture */
  int32_t has_eyes;            /* 1: it sees pictures */
  int32_t has_weights;         /* 0: loaded with VL2_LOAD_NO_WEIGHTS */
  uint64_t weight_bytes;       /* in the memory of the device */
  uint64_t session_bytes;      /* that the cache of a session of context_tokens takes there */
  double load_ms;              /* what loading took, all in all */
  const char* path;            /* as given; strings: as long as the model */
  const char* device_name;     /* "" without weights, here and below */
  const char* device_driver;
  const char* device_uuid;
  uint32_t device_tier;
  uint32_t reserved;
  /* One line about what loading found wrong and went without, as a damaged tuning, or did to make the model fit; "" when all is
   * well. */
  const char* notice;
  uint64_t host_weight_bytes; /* of experts that do not fit in the memory of the device, and stay in host memory; or of the window
                                 there for those that stay in the file */
  uint32_t expert_slots;      /* of them, so many a layer are cached on the device; 0: all experts are on the device */
  uint32_t experts;           /* a layer; 0: the model has none, or no weights */
  uint64_t decode_steps;      /* in which sessions were given their next tokens, so far */
  uint64_t decode_sessions; /* sessions that took part, added up over the steps: how many shared one on average is their ratio */
  uint64_t file_weight_bytes; /* of experts that fit in neither memory, and are read from the file whenever they are wanted */
} vl2_model_info;

VL2_API vl2_status vl2_model_get_info(const vl2_model* model, vl2_model_info* info);

/* The pictures that a model keeps: what its encoder made of them, for the next question about the same picture in any session,
 * which then need not encode it again. Answers are, to the bit, those of a model that keeps none. A picture is known by its pixels
 * and by how it is cut into tiles. What was not used for longest goes first, and all of it where memory is wanted for else. */
typedef struct vl2_picture_cache {
  uint32_t struct_size;
  uint32_t pictures;    /* held now; one that was cut in two ways counts twice */
  uint64_t bytes;       /* of the device's memory that they take */
  uint64_t limit_bytes; /* that they may take; 0: none are kept */
  uint64_t hits;        /* since the model was loaded: pictures that need not be encoded */
  uint64_t misses;      /* and those that had to be */
  uint64_t evictions;   /* pictures and beginnings that had to go */
  uint32_t beginnings;  /* held now: conversations up to their first pictures, for VL2_REPLY_SHARE_BEGINNING */
  uint32_t reserved;
  uint64_t beginning_hits; /* answers that went on from one */
} vl2_picture_cache;

VL2_API vl2_status vl2_model_get_picture_cache(const vl2_model* model, vl2_picture_cache* cache);

/* Asks the device whether it still works, with a trifle of work.
 *
 * timeout_ms  how long to wait for sessions that are using it; 0: not at all
 * Returns     VL2_OK; VL2_BUSY: they used it all that time, which is no error; VL2_ERROR_DEVICE_LOST; VL2_ERROR_DEVICE;
 *             VL2_ERROR_STATE without weights
 */
VL2_API vl2_status vl2_model_check(vl2_model* model, uint32_t timeout_ms);

/* ---- The plan before loading ---------------------------------------------------------------------------------------------- */

typedef struct vl2_plan {
  uint32_t struct_size;
  uint32_t context_tokens; /* that the plan is for */
  uint64_t weight_bytes;
  uint64_t cache_bytes;     /* of one session of context_tokens */
  uint64_t working_bytes;   /* all the rest: activations, pictures, tables, an estimate of compiled kernels */
  uint64_t needed_bytes;    /* the three together */
  uint64_t available_bytes; /* free on the device now */
  int32_t fits;             /* 1: vl2_model_load() would not refuse it */
  int32_t has_eyes;         /* 1: the model sees pictures */
  char device_name[256];
  uint64_t host_weight_bytes; /* of experts that would stay in host memory (or of the window there); weight_bytes are those on the
                                 device */
  uint32_t expert_slots;      /* of them, so many a layer would be cached on the device; 0: all experts are on the device */
  uint32_t reserved;
  uint64_t picture_cache_bytes; /* that kept pictures may take: in working_bytes where a size was asked for, else of what is left */
  uint64_t file_weight_bytes;   /* of experts that would stay in the file */
} vl2_plan;

/* What a model would need on a device, and what is there. Nothing is loaded; options as for vl2_model_load().
 *
 * Returns  VL2_OK whether it fits or not; otherwise as vl2_model_load()
 */
VL2_API vl2_status vl2_plan_load(const char* path, const vl2_load_options* options, vl2_plan* plan);

/* ---- Tokens --------------------------------------------------------------------------------------------------------------- */

enum {
  VL2_TOKENS_CONTROL = 1 /* tokenize: control tokens in the text are the tokens, not letters; to text: they are kept */
};

/* Turns text into ids. Nothing is added at either end.
 *
 * flags     0 or VL2_TOKENS_CONTROL. Without it nothing that a user types can act as a role, an end or a picture
 * ids       room for `capacity` ids; NULL with a capacity of 0 only counts
 * count     gets how many there are
 * Returns   VL2_ERROR_BUFFER_TOO_SMALL: more than capacity, which is not 0; count is set, ids are not.
 *           VL2_ERROR_ARGUMENT: not UTF-8, with the place
 */
VL2_API vl2_status vl2_model_tokenize(const vl2_model* model, const char* text, size_t text_bytes, uint32_t flags, uint32_t* ids,
                                      size_t capacity, size_t* count);

/* Turns ids into text; bytes that are no UTF-8 become U+FFFD, ids without a token nothing.
 *
 * text        room for `capacity` bytes; NULL with a capacity of 0 only counts. A NUL follows the text if there is room
 * text_bytes  gets its length, the NUL not counted
 * Returns     VL2_ERROR_BUFFER_TOO_SMALL: longer than capacity, which is not 0; text_bytes is set, text is not
 */
VL2_API vl2_status vl2_model_detokenize(const vl2_model* model, const uint32_t* ids, size_t count, uint32_t flags, char* text,
                                        size_t capacity, size_t* text_bytes);

/* Tokens of the prompt that vl2_session_start() would make of one message of a user's in a new session.
 *
 * text            as for vl2_session_add_message()
 * picture_tokens  [picture_count], vl2_picture_plan.tokens of each of its pictures; NULL for none
 * Returns         those of vl2_session_add_message()
 */
VL2_API vl2_status vl2_model_count_prompt(const vl2_model* model, const char* text, size_t text_bytes,
                                          const uint32_t* picture_tokens, uint32_t picture_count, uint32_t* tokens);

/* The bytes of one token, which may be a part of a character; NULL for an id without one, or out of range.
 *
 * byte_count  gets how many; may be NULL. They are not NUL-terminated, and last as long as the model
 */
VL2_API const char* vl2_model_token_bytes(const vl2_model* model, uint32_t id, size_t* byte_count);

/* ---- Pictures ------------------------------------------------------------------------------------------------------------- */

/* A decoded picture. */
typedef struct vl2_image vl2_image;

/* Decodes a PNG, JPEG, WebP or BMP file in memory, exactly as Pillow's convert("RGB") does: no rotation by EXIF, alpha dropped.
 *
 * file     the whole file; not needed afterwards
 * image    gets the picture, or NULL; vl2_image_free() it
 * Returns  VL2_ERROR_FILE: none of these, truncated, corrupt; VL2_ERROR_UNSUPPORTED: over 2^28 pixels or 512 MiB, animated
 */
VL2_API vl2_status vl2_image_decode(const uint8_t* file, size_t file_bytes, vl2_image** image);
/* 0 and NULL for NULL. The pixels are [height, width, 3], 8-bit sRGB, rows top to bottom without padding, and last as long as
 * the picture. */
VL2_API uint32_t vl2_image_width(const vl2_image* image);
VL2_API uint32_t vl2_image_height(const vl2_image* image);
VL2_API const uint8_t* vl2_image_rgb(const vl2_image* image);
/* NULL is fine. */
VL2_API void vl2_image_free(vl2_image* image);

/* With more pictures than this in a conversation each one is a single tile. */
#define VL2_MAX_TILED_PICTURES 2

typedef struct vl2_picture_plan {
  uint32_t struct_size;
  uint32_t tiles_wide, tiles_high;        /* 1 x 1: not cut */
  uint32_t canvas_width, canvas_height;   /* in pixels: what the picture is resized and padded to for its tiles */
  uint32_t resized_width, resized_height; /* of the picture on that canvas */
  uint32_t tokens;                        /* that it takes of the context: 421 for one tile */
} vl2_picture_plan;

/* How a picture of width x height pixels is cut in a conversation of `pictures` pictures, this one included.
 *
 * Returns  VL2_ERROR_ARGUMENT: a side of 0, more than 2^28 pixels, so narrow that nothing would be left of a side, 0 pictures;
 *          VL2_ERROR_UNSUPPORTED: the model cannot see
 */
VL2_API vl2_status vl2_model_plan_picture(const vl2_model* model, uint32_t width, uint32_t height, uint32_t pictures,
                                          vl2_picture_plan* plan);

/* Text of a smaller font, in pixels after the resize, is hard to read for the model. */
#define VL2_LEAST_TEXT_PIXELS 8

typedef struct vl2_small_text {
  uint32_t struct_size;
  uint32_t letters;   /* about how many letters are smaller than that; 0: none, or too few to be sure */
  float size;         /* of their font in pixels of the picture: half of them are this size or less */
  float resized_size; /* the same after the resize to vl2_picture_plan.resized_width */
} vl2_small_text;

/* Looks for text that the resize makes too small to read. It goes by what letters look like from afar; sizes are right to about a
 * tenth, textures are seldom taken for text, and text on pictures may be missed. Takes about 10 ns a pixel of one core.
 *
 * rgb, width, height  as for vl2_session_add_image(); pictures  as for vl2_model_plan_picture()
 * Returns             those of vl2_model_plan_picture()
 */
VL2_API vl2_status vl2_model_find_small_text(const vl2_model* model, const uint8_t* rgb, uint32_t width, uint32_t height,
                                             uint32_t pictures, vl2_small_text* text);

/* ---- Sessions: writing a conversation ------------------------------------------------------------------------------------- */

/* One conversation: its messages, its pictures, its cache of tokens on the device. */
typedef struct vl2_session vl2_session;

typedef struct vl2_session_options {
  uint32_t struct_size;
  uint32_t context_tokens; /* that it holds; 0: the model's context_tokens, which is also the most */
} vl2_session_options;

/* Makes an empty conversation. options may be NULL.
 *
 * Returns  VL2_ERROR_OUT_OF_MEMORY: its cache does not fit on the device; VL2_ERROR_STATE: the model has no weights
 */
VL2_API vl2_status vl2_session_create(vl2_model* model, const vl2_session_options* options, vl2_session** session);
/* Writes a session to a file, with which vl2_session_load() goes on, in this process or another, to the bit as if it had not ended:
 * messages, pictures, the last answer and the cache of the device. The file holds all that was said and shown, and only its owner may
 * read it. It appears under its name when it is whole; on an error what was there stays.
 *
 * path     of the file. It takes about vl2_model_info.session_bytes / context_tokens a token and 3 bytes a pixel
 * Returns  VL2_ERROR_IO; VL2_ERROR_STATE: an answer is being given, or pictures were added and no message after them; those of the
 *          device
 */
VL2_API vl2_status vl2_session_save(vl2_session* session, const char* path);

/* Makes the session that vl2_session_save() wrote. Everything in the file is checked before it is used.
 *
 * model    with the same weights in the same format and the same cache_type, on a device that computes in the same number format;
 *          max_tiles and prefill_tokens may differ
 * options  as for vl2_session_create()
 * session  gets the session, or NULL on an error
 * Returns  VL2_ERROR_NOT_FOUND, _IO: the file; VL2_ERROR_FILE: none of ours, torn, changed, or saved with another model;
 *          VL2_ERROR_UNSUPPORTED: of another version of the format; VL2_ERROR_CONTEXT_FULL: it holds more tokens than this session;
 *          else as vl2_session_create()
 */
VL2_API vl2_status vl2_session_load(vl2_model* model, const char* path, const vl2_session_options* options,
                                    vl2_session** session);

/* NULL is fine. No other call on it may be under way, vl2_session_stop() included. */
VL2_API void vl2_session_free(vl2_session* session);

/* The message of the last call that failed on this session; "" before the first, and for NULL. Valid until the next call on the
 * session. */
VL2_API const char* vl2_session_last_error(const vl2_session* session);

typedef enum vl2_role { VL2_ROLE_SYSTEM = 0, VL2_ROLE_USER = 1, VL2_ROLE_ASSISTANT = 2 } vl2_role;

/* Adds a picture to the message that is being written: the next one that vl2_session_add_message() adds, a user's.
 *
 * rgb      height * width * 3 bytes, 8-bit sRGB, rows top to bottom without padding; copied before returning
 * Returns  VL2_ERROR_ARGUMENT: NULL, or a size that vl2_model_plan_picture() refuses; VL2_ERROR_UNSUPPORTED: the model cannot see;
 *          VL2_ERROR_STATE: an answer is being given
 */
VL2_API vl2_status vl2_session_add_image(vl2_session* session, const uint8_t* rgb, uint32_t width, uint32_t height);
/* The same for a picture file in memory: vl2_image_decode(). */
VL2_API vl2_status vl2_session_add_image_file(vl2_session* session, const uint8_t* file, size_t file_bytes);

/* Adds a message. Nothing is read by the model yet; vl2_session_start() does that.
 *
 * role     VL2_ROLE_SYSTEM is allowed as the first message only. VL2_ROLE_ASSISTANT puts words in the model's mouth: answers of an
 *          earlier session, or, as the last message, the beginning of an answer (VL2_REPLY_CONTINUE)
 * text     UTF-8. In a user's, "<image>" marks the places of pictures, missing marks stand in front, and <|ref|>, <|/ref|> and
 *          <|grounding|> are those tokens; in an assistant's all grounding tags are. No other control token is recognised.
 *          White space at its ends is left out
 * Returns  VL2_ERROR_ARGUMENT: NULL, not UTF-8, more marks than pictures, pictures in a message that is not a user's;
 *          VL2_ERROR_STATE: a system message that is not first, an answer that is being given
 */
VL2_API vl2_status vl2_session_add_message(vl2_session* session, vl2_role role, const char* text, size_t text_bytes);

/* How many messages there are, answers included; 0 for NULL. */
VL2_API uint32_t vl2_session_message_count(const vl2_session* session);

typedef struct vl2_message {
  uint32_t struct_size;
  vl2_role role;
  const char* text; /* as it was added, or, of an answer that was generated, with grounding tags. NUL-terminated; pointers here
                       and below: until the next call on the session but for those that begin with vl2_session_get_ */
  size_t text_bytes;
  uint32_t first_picture; /* of the conversation: the index of its first one */
  uint32_t picture_count;
  int32_t is_open; /* 1: an answer that was ended before its end, which VL2_REPLY_CONTINUE takes up */
  uint32_t reserved;
} vl2_message;

/* index    0 .. vl2_session_message_count() - 1
 * Returns  VL2_ERROR_ARGUMENT: no such message
 */
VL2_API vl2_status vl2_session_get_message(const vl2_session* session, uint32_t index, vl2_message* message);

typedef struct vl2_picture {
  uint32_t struct_size;
  uint32_t width, height;
  uint32_t reserved;
  const uint8_t* rgb; /* [height, width, 3], as it was added */
} vl2_picture;

/* Pictures of all messages; one of a message being written is not among them. 0 for NULL. */
VL2_API uint32_t vl2_session_picture_count(const vl2_session* session);
/* index    0 .. vl2_session_picture_count() - 1, in the order of the messages, as vl2_box.picture counts
 * Returns  VL2_ERROR_ARGUMENT: no such picture
 */
VL2_API vl2_status vl2_session_get_picture(const vl2_session* session, uint32_t index, vl2_picture* picture);

/* Forgets all messages but the first `message_count`, pictures of a message being written, and the last answer's details.
 *
 * What is left of the conversation on the device is used again: the next vl2_session_start() reads from the first token on that
 * differs. So a last question is asked again by truncating to the message count it had (regenerate), and a server that rebuilds a
 * conversation of which the session knows the beginning truncates to 0 and adds all messages: only the new ones are read.
 * Returns  VL2_ERROR_ARGUMENT: more messages than there are; VL2_ERROR_STATE: an answer is being given, vl2_session_end() it first
 */
VL2_API vl2_status vl2_session_truncate(vl2_session* session, uint32_t message_count);

/* As a new session: truncates to 0, and nothing on the device is used again, so that the next answer is, to the bit, that of a
 * new session. Returns VL2_ERROR_STATE: an answer is being given */
VL2_API vl2_status vl2_session_clear(vl2_session* session);

/* Tokens of the whole prompt that vl2_session_start() would make of the messages, cached ones included. Runs nothing.
 *
 * Returns  VL2_ERROR_STATE: there are no messages
 */
VL2_API vl2_status vl2_session_count_prompt(const vl2_session* session, uint32_t* tokens);

/* Tokens on the device now, and how many it holds; 0 for NULL. */
VL2_API uint32_t vl2_session_token_count(const vl2_session* session);
VL2_API uint32_t vl2_session_context_tokens(const vl2_session* session);

/* ---- Sessions: answers ---------------------------------------------------------------------------------------------------- */

/* A token that might have been. This struct never grows. */
typedef struct vl2_alternative {
  uint32_t token_id;
  float logprob; /* as vl2_piece.logprob */
} vl2_alternative;

#define VL2_MAX_ALTERNATIVES 20

/* One token of an answer, and the text that is complete with it. */
typedef struct vl2_piece {
  uint32_t struct_size;
  int32_t has_token; /* 0: no token, but what is left of a broken character at the end of the answer, as U+FFFD */
  const char* text;  /* whole characters, NUL-terminated; often empty. Pointers: until the next call on the session */
  size_t text_bytes;
  uint32_t token_index; /* in the answer, from 0; -1 (UINT32_MAX) without a token, here and below */
  uint32_t token_id;    /* its bytes: vl2_model_token_bytes() */
  float logprob;        /* natural logarithm of the model's probability, 0 or less; 1 unless asked for */
  uint32_t alternative_count;
  const vl2_alternative* alternatives; /* the likeliest, in that order, the token itself among them where it belongs */
} vl2_piece;

/* Gets each piece of an answer. Returns 0 to go on; anything else ends the answer with this piece. */
typedef int (*vl2_piece_fn)(void* user, const vl2_piece* piece);

enum {
  VL2_REPLY_TAGS = 1,          /* pieces contain grounding tags: <|ref|>, <|det|>, ... */
  VL2_REPLY_PROBABILITIES = 2, /* pieces, reply and boxes have probabilities. Costs a copy of all logits a token */
  VL2_REPLY_CONTINUE = 4,      /* go on with the last message, an answer that was cut short or given by the caller */
  VL2_REPLY_LOOP_GUARD = 8,     /* end an answer that repeats itself: the same up to 200 tokens at least 10 times in a row, 384 tokens
                                  or more of that; or the same words at least 64 times, 1024 tokens or more, with nothing but numbers
                                  between them, each counting by a step that stays the same: VL2_STOP_LOOP. What was given stays given */
  VL2_REPLY_SHARE_BEGINNING = 16 /* go on from where another session of the model, asked with this flag, had read the same up to its
                                   first pictures, rather than read it again. Not to the bit what reading it again gives */
};

/* How an answer is chosen. All 0: always the likeliest token, until the model ends the answer or the context is full. */
typedef struct vl2_reply_options {
  uint32_t struct_size;
  uint32_t flags;             /* VL2_REPLY_*, or-ed */
  uint32_t max_tokens;        /* 0: as many as the context still holds */
  uint32_t top_k;             /* draw from the k likeliest; 0: from all */
  uint64_t seed;              /* same seed, prompt, device and driver: same reply */
  float temperature;          /* 0: always the likeliest token; up to 100 */
  float top_p;                /* draw from the likeliest that sum to p, up to 1; 0 or 1: from all */
  float min_p;                /* draw from those at least this much as likely as the likeliest, up to 1; 0: from all */
  float repeat_penalty;       /* logits of tokens that occurred are divided by it, 0.01 to 100; 0 or 1: off */
  uint32_t alternative_count; /* of each piece, up to VL2_MAX_ALTERNATIVES; needs VL2_REPLY_PROBABILITIES */
  uint32_t reserved;          /* 0 */
  vl2_progress_fn progress;   /* of encoding pictures and reading the prompt; may be NULL */
  void* progress_user;
  vl2_piece_fn piece; /* of vl2_session_reply(); may be NULL. vl2_session_next() does not call it */
  void* piece_user;
  const char* schema;  /* a JSON Schema: the answer is JSON that it allows, see below; NULL: any text */
  size_t schema_bytes; /* or VL2_NUL_TERMINATED */
} vl2_reply_options;

/* Answers of a schema. Each token is chosen among those with which the text is still the beginning of JSON that the schema allows,
 * and the end only where it is complete. So an answer that ends with VL2_STOP_END is always right; one that is cut short, by
 * max_tokens say, is the beginning of a right one. Temperature and the other options work on the tokens that are left. Tokens are
 * chosen one at a time, which is slower. Not with VL2_REPLY_CONTINUE.
 *
 * Understood  type, enum, const, anyOf, oneOf of alternatives that cannot overlap, allOf of one, $ref to "#" and "#/$defs/NAME",
 *             also in circles; properties, required, additionalProperties; items, minItems, maxItems; minLength, maxLength; minimum,
 *             maximum, exclusiveMinimum and exclusiveMaximum of integers. title, description, default, examples and the like say
 *             nothing. Any other keyword is refused by name, as `pattern` is: VL2_ERROR_UNSUPPORTED
 * Generated   is less than is allowed: properties in the order of the schema and no others; integers of up to 18 digits, other
 *             numbers of 15 before and behind the point; where a schema says nothing of a value, 8 levels of arrays and objects;
 *             white space only where it is usual, one space or a line with its indent
 */

/* The text of a schema that the library brings along, for as long as it is loaded; NULL for another name.
 *
 * "boxes"   [{"label": "...", "box": [left, top, right, bottom]}, ...], numbers 0..999 of the picture's sides
 * "table"   {"columns": ["...", ...], "rows": [["...", ...], ...]}
 * "kv"      [{"key": "...", "value": "..."}, ...]
 * "object"  any JSON object
 *
 * Labels, keys and cells have 200 characters at most, values 1000.
 */
VL2_API const char* vl2_builtin_schema(const char* name);

/* Whether vl2_session_start() would take a schema. Needs no model.
 *
 * Returns  VL2_ERROR_ARGUMENT: not JSON, not a schema, over 256 KiB or too large, nothing satisfies it; VL2_ERROR_UNSUPPORTED: a
 *          keyword, by name. One line says where
 */
VL2_API vl2_status vl2_check_schema(const char* schema, size_t schema_bytes);

/* Begins an answer: encodes pictures and reads the prompt, what the device does not hold of it yet. Blocks until the first token
 * can be chosen. Then vl2_session_next() gives it piece by piece.
 *
 * options  NULL: all defaults; not needed afterwards
 * Returns  VL2_ERROR_STATE: no messages, pictures without a message, an answer that is being given, a last message of the
 *          assistant without VL2_REPLY_CONTINUE or of another with it; VL2_ERROR_CONTEXT_FULL, with the numbers, before anything
 *          runs; VL2_ERROR_ARGUMENT: options, by name; VL2_ERROR_CANCELLED; those of the device. Messages are as before:
 *          vl2_session_truncate() takes back what does not fit
 */
VL2_API vl2_status vl2_session_start(vl2_session* session, const vl2_reply_options* options);

/* The next piece of the answer.
 *
 * Returns  VL2_OK; VL2_END: the answer is complete and is now a message, no piece (again and again until the next start);
 *          VL2_ERROR_STATE: nothing was started; those of the device: the answer ended with the piece before
 */
VL2_API vl2_status vl2_session_next(vl2_session* session, vl2_piece* piece);

/* Ends an answer before its end: what was given of it is a message then. VL2_OK also when none is being given. */
VL2_API vl2_status vl2_session_end(vl2_session* session);

/* vl2_session_start(), then vl2_session_next() until the end, each piece handed to options->piece.
 *
 * Returns  VL2_OK, also for an answer that was stopped (see the stop reason); else as vl2_session_start()
 */
VL2_API vl2_status vl2_session_reply(vl2_session* session, const vl2_reply_options* options);

/* Stops the answer that is being given: from any thread at any time between create and free; also from a signal handler.
 *
 * While pictures are encoded or the prompt is read, vl2_session_start() returns VL2_ERROR_CANCELLED after the part under way. Then
 * no further token is given out: the piece being made is the last, at most. With no answer under way nothing happens. NULL is fine.
 */
VL2_API void vl2_session_stop(vl2_session* session);

typedef enum vl2_stop_reason {
  VL2_STOP_NONE = 0, /* the answer is still being given */
  VL2_STOP_END = 1,  /* the model ended it */
  VL2_STOP_MAX_TOKENS = 2,
  VL2_STOP_CONTEXT_FULL = 3,
  VL2_STOP_STOPPED = 4, /* by vl2_session_stop(), vl2_session_end() or a callback */
  VL2_STOP_LOOP = 5     /* VL2_REPLY_LOOP_GUARD: it repeated itself */
} vl2_stop_reason;

/* "eos", "max_tokens", "context_full", "stopped", "loop"; "" for VL2_STOP_NONE. Never NULL. */
VL2_API const char* vl2_stop_reason_name(vl2_stop_reason reason);

/* The answer as far as it was given. Pointers: until the next call on the session but for the functions below this. */
typedef struct vl2_reply {
  uint32_t struct_size;
  vl2_stop_reason stop_reason;
  const char* text; /* the pieces without tags put together; texts are NUL-terminated */
  size_t text_bytes;
  const char* tagged_text; /* with grounding tags */
  size_t tagged_text_bytes;
  const char* plain_text; /* for reading: labels stay, tags and the numbers of boxes are gone */
  size_t plain_text_bytes;
  const uint32_t* token_ids; /* [answer_tokens], the end token left out */
  const float* logprobs;     /* [answer_tokens], as vl2_piece.logprob; NULL unless asked for */
  uint32_t answer_tokens;
  uint32_t prompt_tokens;  /* in the context before the answer: the whole conversation */
  uint32_t cached_tokens;  /* of those, the ones that were not read for this answer */
  uint32_t picture_tokens; /* of prompt_tokens, those of pictures */
  double resize_ms;        /* pictures: upload, resize and pad */
  double encode_ms;        /* pictures: encoder and projector */
  double prefill_ms;       /* reading the prompt */
  double decode_ms;        /* choosing the tokens of the answer, the caller's time between pieces not counted */
  uint32_t encoded_views;  /* of pictures: what the encoder read for this answer, a tiled picture whole and each tile */
  uint32_t kept_pictures;  /* pictures that it need not read, as the model had kept them: vl2_model_get_picture_cache() */
} vl2_reply;

/* Returns  VL2_ERROR_STATE: no answer was started since the session was made, cleared or truncated */
VL2_API vl2_status vl2_session_get_reply(const vl2_session* session, vl2_reply* reply);

/* ---- Boxes ---------------------------------------------------------------------------------------------------------------- */

/* A thing that the answer names, and where it is. */
typedef struct vl2_box {
  uint32_t struct_size;
  uint32_t left, top, right, bottom; /* pixels of the original picture; right and bottom are the side at most */
  uint32_t thousandths[4];           /* the same as the model says it: 0..999 of the picture's width and height */
  uint32_t picture;     /* which picture the pixels are of, from 0 in the conversation: always the last, as the model does not
                               say. UINT32_MAX without any; pixels are then of a picture of 1 x 1 */
  uint32_t first_token; /* of the answer: the tokens that spell the four numbers, brackets included */
  uint32_t token_count;
  float probability; /* of those tokens: the product of their probabilities, 0..1; -1 unless asked for */
  const char* label; /* NUL-terminated; until the next call on the session but for the functions here */
} vl2_box;

/* Boxes of the answer as far as it was given, those that are complete; 0 for NULL and without an answer. */
VL2_API uint32_t vl2_session_box_count(vl2_session* session);
VL2_API vl2_status vl2_session_get_box(vl2_session* session, uint32_t index, vl2_box* box);

/* What could not be read among the grounding tags of the answer, a line each; NULL for an index out of range. */
VL2_API uint32_t vl2_session_problem_count(vl2_session* session);
VL2_API const char* vl2_session_problem(vl2_session* session, uint32_t index);

#ifdef __cplusplus
}
#endif

#endif
