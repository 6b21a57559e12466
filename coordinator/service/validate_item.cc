#include "coordinator/service/validate_item.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/contract_text.h"
#include "coordinator/service/validate_values.h"

namespace tessera::service {
namespace {

constexpr int kPartsMax = 16;
constexpr int kFieldsMax = 32;
constexpr int kMarksMax = 1'000;  // Spans or boxes in an answer.
constexpr int kClassesMax = 1'000;

void CheckLink(const v1::MediaLink& link, const FieldPath& path, Violations& violations) {
  const FieldPath uri = path.Sub("uri");
  if (CheckRequiredText(link.uri(), 2048, uri, violations) &&
      (!absl::StartsWith(link.uri(), "https://") || link.uri().size() == 8 ||
       HasControlCharacter(link.uri()) || absl::StrContains(link.uri(), ' '))) {
    violations.Malformed(uri, "must be an https address");
  }
  CheckMediaType(link.media_type(), path.Sub("media_type"), violations);
  const bool is_digest = std::all_of(link.sha256().begin(), link.sha256().end(), [](char c) {
    return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
  });
  if (!link.sha256().empty() && (link.sha256().size() != 64 || !is_digest)) {
    violations.Malformed(path.Sub("sha256"), "must be 64 digits of lower-case hex");
  }
}

void CheckPart(const v1::Part& part, const FieldPath& path, Violations& violations) {
  CheckId(part.name(), path.Sub("name"), violations);
  CheckText(part.entity(), 256, path.Sub("entity"), violations);
  switch (part.content_case()) {
    case v1::Part::kText:
      break;
    case v1::Part::kLink:
      CheckLink(part.link(), path.Sub("link"), violations);
      break;
    case v1::Part::kInline: {
      const FieldPath media = path.Sub("inline");
      if (part.inline_().data().empty()) violations.Required(media.Sub("data"));
      CheckMediaType(part.inline_().media_type(), media.Sub("media_type"), violations);
      break;
    }
    case v1::Part::CONTENT_NOT_SET:
      violations.Required(path.Sub("content"));
      break;
  }
}

void CheckProbabilities(const v1::FieldAnswer& field, const FieldPath& path,
                        Violations& violations) {
  if (field.probabilities().empty()) return;
  const FieldPath at = path.Sub("probabilities");
  if (!field.has_choice()) violations.Conflict(at, "goes with a choice only");
  if (field.probabilities_size() > kClassesMax) {
    violations.OutOfLimits(at, absl::StrCat("must have at most ", kClassesMax, " entries"));
    return;
  }
  double sum = 0;
  for (int i = 0; i < field.probabilities_size(); ++i) {
    if (!CheckReal(field.probabilities(i), 0, 1, at.At(i), violations)) return;
    sum += field.probabilities(i);
  }
  if (std::abs(sum - 1) > 0.001) violations.OutOfLimits(at, "must sum to 1 within 0.001");
}

void CheckChoices(const v1::ChoiceList& choices, const FieldPath& path, Violations& violations) {
  const FieldPath values = path.Sub("values");
  if (choices.values_size() > kClassesMax) {
    violations.OutOfLimits(values, absl::StrCat("must have at most ", kClassesMax, " entries"));
    return;
  }
  absl::flat_hash_set<absl::string_view> seen;
  for (int i = 0; i < choices.values_size(); ++i) {
    const FieldPath at = values.At(i);
    if (CheckClassValue(choices.values(i), at, violations) &&
        !seen.insert(choices.values(i)).second) {
      violations.Duplicated(at, "is there twice");
    }
  }
}

void CheckSpans(const v1::SpanList& list, const FieldPath& path, Violations& violations) {
  const FieldPath spans = path.Sub("spans");
  if (list.spans_size() > kMarksMax) {
    violations.OutOfLimits(spans, absl::StrCat("must have at most ", kMarksMax, " entries"));
    return;
  }
  for (int i = 0; i < list.spans_size(); ++i) {
    const v1::Span& span = list.spans(i);
    const FieldPath at = spans.At(i);
    if (span.start() < 0) violations.OutOfLimits(at.Sub("start"), "must not be negative");
    if (span.end() <= span.start()) violations.OutOfLimits(at.Sub("end"), "must be after start");
    if (!span.value().empty()) CheckClassValue(span.value(), at.Sub("value"), violations);
  }
}

void CheckBoxes(const v1::BoxList& list, const FieldPath& path, Violations& violations) {
  constexpr double kRounding = 1e-9;
  const FieldPath boxes = path.Sub("boxes");
  if (list.boxes_size() > kMarksMax) {
    violations.OutOfLimits(boxes, absl::StrCat("must have at most ", kMarksMax, " entries"));
    return;
  }
  const auto check_extent = [&](double from, double extent, const FieldPath& at) {
    if (std::isfinite(extent) && extent > 0 && from + extent <= 1 + kRounding) return;
    violations.OutOfLimits(at, "must be above 0 and end within the image");
  };
  for (int i = 0; i < list.boxes_size(); ++i) {
    const v1::Box& box = list.boxes(i);
    const FieldPath at = boxes.At(i);
    CheckReal(box.x(), 0, 1, at.Sub("x"), violations);
    CheckReal(box.y(), 0, 1, at.Sub("y"), violations);
    check_extent(box.x(), box.width(), at.Sub("width"));
    check_extent(box.y(), box.height(), at.Sub("height"));
    if (!(box.rotation_degrees() >= 0 && box.rotation_degrees() < 360)) {
      violations.OutOfLimits(at.Sub("rotation_degrees"), "must be from 0 to below 360");
    }
    if (!box.value().empty()) CheckClassValue(box.value(), at.Sub("value"), violations);
  }
}

void CheckFieldAnswer(const v1::FieldAnswer& field, const FieldPath& path, Violations& violations) {
  if (!field.field().empty()) CheckId(field.field(), path.Sub("field"), violations);
  switch (field.value_case()) {
    case v1::FieldAnswer::kChoice:
      CheckClassValue(field.choice(), path.Sub("choice"), violations);
      break;
    case v1::FieldAnswer::kChoices:
      CheckChoices(field.choices(), path.Sub("choices"), violations);
      break;
    case v1::FieldAnswer::kScale:
    case v1::FieldAnswer::kText:
      break;  // Any, as far as can be said here.
    case v1::FieldAnswer::kNumber:
      if (!std::isfinite(field.number())) {
        violations.OutOfLimits(path.Sub("number"), "must be finite");
      }
      break;
    case v1::FieldAnswer::kPreference:
      CheckEnum(field.preference() != v1::PREFERENCE_UNSPECIFIED &&
                    v1::Preference_IsValid(field.preference()),
                path.Sub("preference"), violations);
      break;
    case v1::FieldAnswer::kSpans:
      CheckSpans(field.spans(), path.Sub("spans"), violations);
      break;
    case v1::FieldAnswer::kBoxes:
      CheckBoxes(field.boxes(), path.Sub("boxes"), violations);
      break;
    case v1::FieldAnswer::VALUE_NOT_SET:
      violations.Required(path.Sub("value"));
      break;
  }
  CheckProbabilities(field, path, violations);
}

}  // namespace

void CheckItem(const v1::Item& item, const ItemLimits& limits, const FieldPath& path,
               Violations& violations) {
  CheckItemKey(item.key(), path.Sub("key"), violations);
  CheckParts(item.content(), path.Sub("content"), violations);
  CheckReal(item.length(), 0, 1e6, path.Sub("length"), violations);
  if (!item.stratum().empty()) CheckId(item.stratum(), path.Sub("stratum"), violations);
  if (item.importance() != 0) {
    CheckReal(item.importance(), 0.001, 1000, path.Sub("importance"), violations);
  }
  CheckLanguage(item.language(), path.Sub("language"), violations);
  if (item.has_gold()) CheckAnswer(item.gold(), limits, path.Sub("gold"), violations);
  CheckNotes(item.metadata(), path.Sub("metadata"), violations);
  if (static_cast<int64_t>(item.ByteSizeLong()) > limits.item_bytes_max) {
    violations.OutOfLimits(
        path, absl::StrCat("must have at most ", limits.item_bytes_max, " bytes when serialised"));
  }
}

void CheckParts(const google::protobuf::RepeatedPtrField<v1::Part>& parts, const FieldPath& path,
                Violations& violations) {
  if (parts.empty()) violations.Required(path);
  if (parts.size() > kPartsMax) {
    violations.OutOfLimits(path, absl::StrCat("must have at most ", kPartsMax, " parts"));
    return;
  }
  for (int i = 0; i < parts.size(); ++i) {
    const FieldPath at = path.At(i);
    CheckPart(parts[i], at, violations);
    // Sixteen at most: comparing each with all before it needs no set.
    for (int j = 0; j < i; ++j) {
      if (parts[j].name() != parts[i].name() || parts[i].name().empty()) continue;
      violations.Duplicated(at.Sub("name"), "is there twice");
      break;
    }
  }
}

void CheckAnswer(const v1::Answer& answer, const ItemLimits& limits, const FieldPath& path,
                 Violations& violations) {
  const FieldPath fields = path.Sub("fields");
  if (answer.fields().empty()) violations.Required(fields);
  if (answer.fields_size() > kFieldsMax) {
    violations.OutOfLimits(fields, absl::StrCat("must have at most ", kFieldsMax, " entries"));
    return;
  }
  if (static_cast<int64_t>(answer.ByteSizeLong()) > limits.answer_bytes_max) {
    violations.OutOfLimits(path, absl::StrCat("must have at most ", limits.answer_bytes_max,
                                              " bytes when serialised"));
    return;
  }
  for (int i = 0; i < answer.fields_size(); ++i) {
    const FieldPath at = fields.At(i);
    CheckFieldAnswer(answer.fields(i), at, violations);
    if (answer.fields_size() > 1 && answer.fields(i).field().empty()) {
      violations.Required(at.Sub("field"));
    }
    for (int j = 0; j < i; ++j) {
      if (answer.fields(j).field() != answer.fields(i).field()) continue;
      violations.Duplicated(at.Sub("field"), "is there twice");
      break;
    }
  }
}

}  // namespace tessera::service
