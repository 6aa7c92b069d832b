// `vl2 quantize`: a model into one GGUF file, with progress; nothing is left behind when it stops.
#include "model/quantize.h"

#include <array>
#include <cstdio>

#include "app/commands/commands.h"
#include "app/interrupt.h"
#include "app/output_path.h"
#include "app/progress.h"

namespace vl2 {

std::string quantize_type_names() {
  std::string names;
  for (const QuantizeMix& mix : quantize_mixes())
    names += std::string(names.empty() ? "" : ", ") + mix.name + " (" + mix.summary + ")";
  return names;
}

Result<const QuantizeMix*> quantize_mix_of(const std::string& type) {
  const QuantizeMix* mix = find_quantize_mix(type);
  if (mix != nullptr)
    return mix;
  std::string names;
  for (const QuantizeMix& known : quantize_mixes())
    names += std::string(names.empty() ? "" : ", ") + known.name;
  return fail(Code::BadArgument, "--type ", type.substr(0, 32), ": wanted one of ", names);
}

Status quantize_command(const QuantizeCommandOptions& options) {
  VL2_ASSIGN(const QuantizeMix* mix, quantize_mix_of(options.type));
  VL2_TRY(check_output_file(options.out));
  VL2_ASSIGN(const ModelFiles files, ModelFiles::open(options.in));
  catch_interrupts();
  Progress progress(wants_progress(options.quiet));
  QuantizeOptions work{.mix = mix, .text_only = options.text_only, .threads = options.threads};
  work.progress = [&](uint64_t done, uint64_t total) {
    progress.bytes("quantizing", done, total);
    return !interrupted();
  };
  const auto report = quantize_model(files, options.out, work);
  progress.clear();
  if (report.code() == Code::Cancelled)
    return {};  // the exit status says it
  VL2_TRY(report.status());
  if (report->widened.has_value() && !options.quiet)
    std::fprintf(stderr, "vl2: warning: %s was quantised before: %s takes room and brings nothing back\n", options.in.c_str(),
                 report->widened->c_str());
  std::array<char, 32> weight_bits{};
  std::snprintf(weight_bits.data(), weight_bits.size(), "%.2f", report->bits_per_weight);
  std::printf("%s: %s, %llu tensors, %s from %s, %s bits a weight\n", options.out.c_str(), mix->name,
              static_cast<unsigned long long>(report->tensor_count), human_bytes(report->file_bytes).c_str(),
              human_bytes(report->source_bytes).c_str(), weight_bits.data());
  return {};
}

}  // namespace vl2
