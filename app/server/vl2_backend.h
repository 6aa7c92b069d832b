// The server's model, over nothing but app/vl2.h.
#pragma once

#include <memory>
#include <string>

#include "app/server/chat_backend.h"
#include "app/vl2.h"

namespace vl2::server {

/// model  taken over: freed with the backend; with weights
/// name   what requests call it
std::unique_ptr<ChatBackend> make_vl2_backend(vl2_model* model, const std::string& name);

}  // namespace vl2::server
