/* Logits of all positions of a list of ids, by llama.cpp's CPU back end. Built and run by compare.sh.
   usage: logits MODEL.gguf IDS OUT    IDS: i32, one after the other; OUT: f32 [ids, vocabulary] */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* what) {
  fprintf(stderr, "logits: %s\n", what);
  return 1;
}

static void only_errors(enum ggml_log_level level, const char* text, void* unused) {
  (void)unused;
  if (level == GGML_LOG_LEVEL_ERROR)
    fputs(text, stderr);
}

int main(int argc, char** argv) {
  enum { kMost = 4096 };
  static llama_token ids[kMost];
  if (argc != 4)
    return fail("usage: logits MODEL.gguf IDS OUT");
  FILE* in = fopen(argv[2], "rb");
  if (in == NULL)
    return fail("cannot read the ids");
  const int count = (int)fread(ids, sizeof(ids[0]), kMost, in);
  fclose(in);

  llama_log_set(only_errors, NULL);
  ggml_backend_load_all();
  llama_backend_init();
  struct llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  struct llama_model* model = llama_model_load_from_file(argv[1], model_params);
  if (model == NULL)
    return fail("the model does not load");
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = kMost;
  params.n_batch = params.n_ubatch = kMost;
  params.n_threads = params.n_threads_batch = 2;
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  struct llama_context* context = llama_init_from_model(model, params);
  if (context == NULL)
    return fail("no context");
  struct llama_batch batch = llama_batch_init(count, 0, 1);
  for (int i = 0; i < count; ++i) {
    batch.token[i] = ids[i];
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  batch.n_tokens = count;
  if (llama_decode(context, batch) != 0)
    return fail("llama_decode failed");
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  FILE* out = fopen(argv[3], "wb");
  if (out == NULL)
    return fail("cannot write the logits");
  for (int i = 0; i < count; ++i)
    fwrite(llama_get_logits_ith(context, i), sizeof(float), (size_t)vocab, out);
  return fclose(out) == 0 ? 0 : fail("cannot write the logits");
}
