/* What a user of the library writes first: asks the model argv[1] the question argv[3] about the picture file argv[2]. */
#include <stdio.h>
#include <stdlib.h>
#include <vl2.h>

static int failed(const char* message) {
  fprintf(stderr, "consumer: %s\n", message);
  return 1;
}

int main(int argc, char** argv) {
  static uint8_t bytes[1 << 20];
  FILE* const file = argc == 4 ? fopen(argv[2], "rb") : NULL;
  if (file == NULL)
    return failed("wanted a model, a picture and a question");
  const size_t byte_count = fread(bytes, 1, sizeof(bytes), file);
  fclose(file);

  vl2_model* model = NULL;
  vl2_session* session = NULL;
  vl2_reply reply = {.struct_size = sizeof(reply)};
  if (vl2_model_load(argv[1], NULL, &model) != VL2_OK || vl2_session_create(model, NULL, &session) != VL2_OK ||
      vl2_session_add_image_file(session, bytes, byte_count) != VL2_OK ||
      vl2_session_add_message(session, VL2_ROLE_USER, argv[3], VL2_NUL_TERMINATED) != VL2_OK ||
      vl2_session_reply(session, NULL) != VL2_OK || vl2_session_get_reply(session, &reply) != VL2_OK)
    return failed(vl2_last_error());
  printf("%s\n", reply.text);
  vl2_session_free(session);
  vl2_model_free(model);
  return 0;
}
