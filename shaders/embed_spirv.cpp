// Build tool: writes compiled shaders as one C++ source, with what the runtime wants to know about each.
//
// Usage: embed_spirv OUT.cpp NAME=FILE.spv [NAME=FILE.spv ...]     (order = order of enum ShaderId)
//
// Read from each module: its storage buffer bindings with the access that the source's `readonly` and `writeonly` promise and how
// many buffers each takes, the size of its push constants, and whether it uses matrix units. The recorder derives barriers from the first, so no operator states them
// a second time.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

// The few numbers of the SPIR-V specification (version 1.5, section 3) that are needed here.
constexpr uint32_t kMagic = 0x07230203;
constexpr uint32_t kOpCapability = 17, kCooperativeMatrix = 6022;
constexpr uint32_t kOpTypeInt = 21, kOpTypeFloat = 22, kOpTypeArray = 28, kOpTypeStruct = 30, kOpTypePointer = 32,
                   kOpConstant = 43, kOpVariable = 59, kOpDecorate = 71, kOpMemberDecorate = 72;
constexpr uint32_t kNonWritable = 24, kNonReadable = 25, kBinding = 33, kDecorationOffset = 35;
constexpr uint32_t kStoragePushConstant = 9, kStorageBuffer = 12;

struct Access {
  bool reads = false, writes = false;
  uint32_t count = 0;  // of buffers: 1, or an array of them
};

struct Module {
  std::vector<uint32_t> words;
  std::map<uint32_t, Access> bindings;
  uint32_t push_constant_bytes = 0;
  bool matrix = false;
};

struct Declarations {
  std::map<uint32_t, uint32_t> binding_of;                   // variable -> binding
  std::map<uint32_t, std::set<uint32_t>> decorations;        // id -> decorations of the whole
  std::map<uint32_t, std::map<uint32_t, uint32_t>> offsets;  // struct -> member -> byte offset
  std::map<uint32_t, std::vector<uint32_t>> members;         // struct -> member types
  std::map<uint32_t, uint32_t> pointee;                      // pointer type -> type
  std::map<uint32_t, uint32_t> scalar_bytes;                 // scalar type -> bytes
  std::map<uint32_t, uint32_t> constants;                    // constant -> its first word
  struct Array {
    uint32_t element, length;  // a type, a constant
  };
  std::map<uint32_t, Array> arrays;
  std::map<uint32_t, std::map<uint32_t, std::set<uint32_t>>> member_decorations;
  struct Variable {
    uint32_t id, type, storage;
  };
  std::vector<Variable> variables;
  bool matrix = false;
};

Declarations read_declarations(const std::vector<uint32_t>& words) {
  Declarations d;
  for (size_t at = 5; at < words.size();) {
    const uint32_t count = words[at] >> 16, opcode = words[at] & 0xffffu;
    const uint32_t* operand = &words[at] + 1;
    switch (opcode) {
      case kOpCapability: d.matrix |= operand[0] == kCooperativeMatrix; break;
      case kOpDecorate:
        if (operand[1] == kBinding)
          d.binding_of[operand[0]] = operand[2];
        d.decorations[operand[0]].insert(operand[1]);
        break;
      case kOpMemberDecorate:
        if (operand[2] == kDecorationOffset)
          d.offsets[operand[0]][operand[1]] = operand[3];
        d.member_decorations[operand[0]][operand[1]].insert(operand[2]);
        break;
      case kOpTypeInt:
      case kOpTypeFloat: d.scalar_bytes[operand[0]] = operand[1] / 8; break;
      case kOpTypeStruct: d.members[operand[0]].assign(operand + 1, operand + count - 1); break;
      case kOpTypeArray: d.arrays[operand[0]] = {operand[1], operand[2]}; break;
      case kOpTypePointer: d.pointee[operand[0]] = operand[2]; break;
      case kOpConstant: d.constants[operand[1]] = operand[2]; break;
      case kOpVariable: d.variables.push_back({operand[1], operand[0], operand[2]}); break;
      default: break;
    }
    at += count;
  }
  return d;
}

uint32_t struct_bytes(const Declarations& d, uint32_t type) {
  if (const auto scalar = d.scalar_bytes.find(type); scalar != d.scalar_bytes.end())
    return scalar->second;
  const auto members = d.members.find(type);
  if (members == d.members.end())
    return 0;
  uint32_t bytes = 0;
  for (uint32_t i = 0; i < members->second.size(); ++i)
    bytes = std::max(bytes, d.offsets.at(type).at(i) + struct_bytes(d, members->second[i]));
  return bytes;
}

// What a variable's pointer points to; where that is an array of blocks, one of them.
uint32_t block_of(const Declarations& d, const Declarations::Variable& variable) {
  const uint32_t type = d.pointee.at(variable.type);
  const auto array = d.arrays.find(type);
  return array == d.arrays.end() ? type : array->second.element;
}

// 1 where it is none; 0 for a length that is no plain constant.
uint32_t buffers_of(const Declarations& d, const Declarations::Variable& variable) {
  const auto array = d.arrays.find(d.pointee.at(variable.type));
  if (array == d.arrays.end())
    return 1;
  const auto length = d.constants.find(array->second.length);
  return length == d.constants.end() ? 0 : length->second;
}

// glslc puts NonWritable and NonReadable on the variable or on every member of its block.
bool promised(const Declarations& d, const Declarations::Variable& variable, uint32_t decoration) {
  if (const auto whole = d.decorations.find(variable.id); whole != d.decorations.end() && whole->second.count(decoration))
    return true;
  const uint32_t block = block_of(d, variable);
  const auto members = d.members.find(block);
  const auto decorated = d.member_decorations.find(block);
  if (members == d.members.end() || decorated == d.member_decorations.end())
    return false;
  for (uint32_t i = 0; i < members->second.size(); ++i) {
    const auto of_member = decorated->second.find(i);
    if (of_member == decorated->second.end() || !of_member->second.count(decoration))
      return false;
  }
  return true;
}

bool reflect(Module& module) {
  if (module.words.size() < 5 || module.words[0] != kMagic)
    return false;
  const Declarations d = read_declarations(module.words);
  module.matrix = d.matrix;
  for (const Declarations::Variable& variable : d.variables) {
    if (variable.storage == kStoragePushConstant)
      module.push_constant_bytes = struct_bytes(d, d.pointee.at(variable.type));
    if (variable.storage != kStorageBuffer)
      continue;
    Access& access = module.bindings[d.binding_of.at(variable.id)];
    access.reads |= !promised(d, variable, kNonReadable);
    access.writes |= !promised(d, variable, kNonWritable);
    const uint32_t count = buffers_of(d, variable);
    if (count == 0 || count > 255 || (access.count != 0 && access.count != count))
      return false;  // two views of a binding must be of as many buffers
    access.count = count;
  }
  return true;
}

void write_module(std::ostream& out, const std::string& name, const Module& module) {
  out << "constexpr uint32_t " << name << "_words[] = {";
  char text[16];
  for (const uint32_t word : module.words) {
    std::snprintf(text, sizeof(text), "0x%x,", word);
    out << text;
  }
  out << "};\nconstexpr ShaderBinding " << name << "_bindings[] = {";
  for (const auto& [binding, access] : module.bindings)
    out << "{" << binding << ", " << (access.reads ? "true" : "false") << ", " << (access.writes ? "true" : "false") << ", "
        << access.count << "},";
  out << "};\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: embed_spirv OUT.cpp NAME=FILE.spv ...\n";
    return 2;
  }
  std::ofstream out(argv[1]);
  out << "// Generated by shaders/embed_spirv.cpp.\n#include \"runtime/shader.h\"\n\nnamespace vl2 {\nnamespace {\n";
  std::string table;
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals), path = argument.substr(equals + 1);
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    Module module;
    module.words.resize(file ? static_cast<size_t>(file.tellg()) / 4 : 0);
    file.seekg(0);
    file.read(reinterpret_cast<char*>(module.words.data()), static_cast<std::streamsize>(module.words.size() * 4));
    if (!file || !reflect(module) || module.bindings.empty()) {
      std::cerr << "embed_spirv: " << path << ": not a SPIR-V module with storage buffers, in arrays of 1 .. 255 or none\n";
      return 1;
    }
    write_module(out, name, module);
    table += "    {\"" + name + "\", " + name + "_words, " + name + "_bindings, " + std::to_string(module.push_constant_bytes) +
             (module.matrix ? ", true},\n" : ", false},\n");
  }
  out << "constexpr ShaderCode kShaders[] = {\n"
      << table << "};\n}  // namespace\n\n"
      << "const ShaderCode& shader_code(ShaderId id) { return kShaders[static_cast<size_t>(id)]; }\n\n}  // namespace vl2\n";
  return out.flush() ? 0 : 1;
}
