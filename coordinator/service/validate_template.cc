#include "coordinator/service/validate_template.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "coordinator/service/validate_values.h"

namespace tessera::service {
namespace {

constexpr int kFieldsMax = 32;
constexpr int kClassesMax = 1'000;
constexpr int kExamplesMax = 20;
constexpr int kTextBytesMax = 65'536;
// A job goes out whole, with what its policy and its labels may hold, in messages that clients of
// gRPC take unless told otherwise.
constexpr size_t kTemplateBytesMax = 1 << 20;

using Classes = google::protobuf::RepeatedPtrField<v1::ChoiceClass>;

class TemplateCheck {
 public:
  TemplateCheck(const ItemLimits& limits, Violations& violations)
      : limits_(limits), violations_(violations) {}

  void Check(const v1::TaskTemplate& task, const FieldPath& path) {
    if (task.ByteSizeLong() > kTemplateBytesMax) {
      violations_.OutOfLimits(
          path, absl::StrCat("must have at most ", kTemplateBytesMax, " bytes when serialised"));
      return;
    }
    CheckRequiredLine(task.title(), 200, path.Sub("title"), violations_);
    CheckText(task.instructions(), 32 << 10, path.Sub("instructions"), violations_);
    CheckLine(task.version(), 64, path.Sub("version"), violations_);
    CheckLanguage(task.language(), path.Sub("language"), violations_);
    const FieldPath fields = path.Sub("fields");
    if (task.fields().empty()) violations_.Required(fields);
    if (task.fields_size() > kFieldsMax) {
      violations_.OutOfLimits(fields, absl::StrCat("must have at most ", kFieldsMax, " entries"));
      return;
    }
    absl::flat_hash_set<absl::string_view> names;
    for (int i = 0; i < task.fields_size(); ++i) {
      const FieldPath at = fields.At(i);
      CheckField(task.fields(i), at);
      if (!task.fields(i).name().empty() && !names.insert(task.fields(i).name()).second) {
        violations_.Duplicated(at.Sub("name"), "is there twice");
      }
    }
    const FieldPath examples = path.Sub("examples");
    if (task.examples_size() > kExamplesMax) {
      violations_.OutOfLimits(examples,
                              absl::StrCat("must have at most ", kExamplesMax, " entries"));
      return;
    }
    for (int i = 0; i < task.examples_size(); ++i) {
      CheckExample(task, task.examples(i), examples.At(i));
    }
  }

 private:
  void CheckField(const v1::Field& field, const FieldPath& path) {
    CheckId(field.name(), path.Sub("name"), violations_);
    CheckText(field.prompt(), 2000, path.Sub("prompt"), violations_);
    switch (field.type_case()) {
      case v1::Field::kChoice: {
        const FieldPath type = path.Sub("choice");
        CheckClasses(field.choice().classes(), 2, type.Sub("classes"));
        break;
      }
      case v1::Field::kMultiChoice:
        CheckMultiChoice(field.multi_choice(), path.Sub("multi_choice"));
        break;
      case v1::Field::kScale:
        CheckScale(field.scale(), path.Sub("scale"));
        break;
      case v1::Field::kNumber:
        CheckNumber(field.number(), path.Sub("number"));
        break;
      case v1::Field::kPairwise:
        CheckPairwise(field.pairwise(), path.Sub("pairwise"));
        break;
      case v1::Field::kSpans: {
        const FieldPath type = path.Sub("spans");
        CheckId(field.spans().part(), type.Sub("part"), violations_);
        CheckClasses(field.spans().classes(), 0, type.Sub("classes"));
        CheckEnum(v1::SpanUnit_IsValid(field.spans().unit()), type.Sub("unit"), violations_);
        CheckRange(field.spans().spans_max(), 0, 1000, type.Sub("spans_max"), violations_);
        break;
      }
      case v1::Field::kBoxes: {
        const FieldPath type = path.Sub("boxes");
        CheckId(field.boxes().part(), type.Sub("part"), violations_);
        CheckClasses(field.boxes().classes(), 0, type.Sub("classes"));
        CheckRange(field.boxes().boxes_max(), 0, 1000, type.Sub("boxes_max"), violations_);
        break;
      }
      case v1::Field::kText: {
        const FieldPath type = path.Sub("text");
        const v1::TextType& text = field.text();
        CheckRange(text.bytes_min(), 0, kTextBytesMax, type.Sub("bytes_min"), violations_);
        CheckRange(text.bytes_max(), 0, kTextBytesMax, type.Sub("bytes_max"), violations_);
        if (text.bytes_max() != 0 && text.bytes_min() > text.bytes_max()) {
          violations_.Conflict(type.Sub("bytes_max"), "must not be below bytes_min");
        }
        CheckLanguage(text.language(), type.Sub("language"), violations_);
        break;
      }
      case v1::Field::TYPE_NOT_SET:
        violations_.Required(path.Sub("type"));
        break;
    }
  }

  void CheckClasses(const Classes& classes, int count_min, const FieldPath& path) {
    if (classes.size() < count_min || classes.size() > kClassesMax) {
      violations_.OutOfLimits(
          path, absl::StrCat("must have from ", count_min, " to ", kClassesMax, " entries"));
      return;
    }
    absl::flat_hash_set<absl::string_view> values;
    for (int i = 0; i < classes.size(); ++i) {
      const v1::ChoiceClass& choice = classes[i];
      const FieldPath at = path.At(i);
      if (CheckClassValue(choice.value(), at.Sub("value"), violations_) &&
          !values.insert(choice.value()).second) {
        violations_.Duplicated(at.Sub("value"), "is there twice");
      }
      CheckLine(choice.label(), 200, at.Sub("label"), violations_);
      CheckText(choice.description(), 1000, at.Sub("description"), violations_);
      CheckKeyHint(choice.key_hint(), at.Sub("key_hint"));
    }
  }

  void CheckKeyHint(absl::string_view hint, const FieldPath& path) {
    if (hint.empty()) return;
    if (hint.size() != 1 || hint[0] <= 0x20 || hint[0] >= 0x7f) {
      violations_.Malformed(path, "must be one printable ASCII character other than space");
    } else if (!key_hints_.insert(absl::ascii_tolower(hint[0])).second) {
      violations_.Duplicated(path, "is there twice in the template");
    }
  }

  void CheckMultiChoice(const v1::MultiChoiceType& type, const FieldPath& path) {
    CheckClasses(type.classes(), 2, path.Sub("classes"));
    const int classes = type.classes_size();
    CheckRange(type.chosen_min(), 0, classes, path.Sub("chosen_min"), violations_);
    CheckRange(type.chosen_max(), 0, classes, path.Sub("chosen_max"), violations_);
    if (type.chosen_max() != 0 && type.chosen_min() > type.chosen_max()) {
      violations_.Conflict(path.Sub("chosen_max"), "must not be below chosen_min");
    }
  }

  void CheckScale(const v1::ScaleType& type, const FieldPath& path) {
    // Unsigned, as the difference of two int64 may not be one.
    const uint64_t range =
        static_cast<uint64_t>(type.point_max()) - static_cast<uint64_t>(type.point_min());
    if (type.point_max() <= type.point_min() || range > 100) {
      violations_.OutOfLimits(path.Sub("point_max"), "must be above point_min by 1 to 100");
      return;
    }
    const FieldPath captions = path.Sub("captions");
    absl::flat_hash_set<int64_t> points;
    for (int i = 0; i < type.captions_size(); ++i) {
      const v1::ScaleCaption& caption = type.captions(i);
      const FieldPath at = captions.At(i);
      CheckRequiredText(caption.caption(), 200, at.Sub("caption"), violations_);
      if (CheckRange(caption.point(), type.point_min(), type.point_max(), at.Sub("point"),
                     violations_) &&
          !points.insert(caption.point()).second) {
        violations_.Duplicated(at.Sub("point"), "is there twice");
      }
      if (violations_.full()) return;
    }
  }

  void CheckNumber(const v1::NumberType& type, const FieldPath& path) {
    CheckText(type.unit(), 32, path.Sub("unit"), violations_);
    if (type.has_number_min() && !std::isfinite(type.number_min())) {
      violations_.OutOfLimits(path.Sub("number_min"), "must be finite");
    }
    if (type.has_number_max() && !std::isfinite(type.number_max())) {
      violations_.OutOfLimits(path.Sub("number_max"), "must be finite");
    }
    if (type.has_number_min() && type.has_number_max() && type.number_max() < type.number_min()) {
      violations_.Conflict(path.Sub("number_max"), "must not be below number_min");
    }
  }

  void CheckPairwise(const v1::PairwiseType& type, const FieldPath& path) {
    CheckId(type.left_part(), path.Sub("left_part"), violations_);
    if (CheckId(type.right_part(), path.Sub("right_part"), violations_) &&
        type.left_part() == type.right_part()) {
      violations_.Conflict(path.Sub("right_part"), "must be another part than left_part");
    }
  }

  void CheckExample(const v1::TaskTemplate& task, const v1::TemplateExample& example,
                    const FieldPath& path) {
    const FieldPath content = path.Sub("content");
    CheckParts(example.content(), content, violations_);
    size_t content_bytes = 0;
    for (const v1::Part& part : example.content()) content_bytes += part.ByteSizeLong();
    if (static_cast<int64_t>(content_bytes) > limits_.item_bytes_max) {
      violations_.OutOfLimits(content, absl::StrCat("must have at most ", limits_.item_bytes_max,
                                                    " bytes when serialised"));
    }
    CheckText(example.explanation(), 2000, path.Sub("explanation"), violations_);
    const FieldPath answer = path.Sub("answer");
    CheckAnswer(example.answer(), limits_, answer, violations_);
    for (int i = 0; i < example.answer().fields_size(); ++i) {
      const v1::FieldAnswer& field = example.answer().fields(i);
      if (FieldFits(task, field)) continue;
      const FieldPath fields = answer.Sub("fields");
      violations_.Add(v1::ANSWER_DOES_NOT_FIT, fields.At(i), "does not fit the template");
    }
  }

  // The field exists, the value is of its type and, for choices, one of the classes.
  static bool FieldFits(const v1::TaskTemplate& task, const v1::FieldAnswer& answer) {
    for (const v1::Field& field : task.fields()) {
      if (field.name() != answer.field() && !(answer.field().empty() && task.fields_size() == 1)) {
        continue;
      }
      if (!field.has_choice()) return true;  // Not served yet: judged when it is.
      const Classes& classes = field.choice().classes();
      return answer.has_choice() &&
             std::any_of(classes.begin(), classes.end(), [&](const v1::ChoiceClass& choice) {
               return choice.value() == answer.choice();
             });
    }
    return false;
  }

  const ItemLimits& limits_;
  Violations& violations_;
  absl::flat_hash_set<char> key_hints_;
};

}  // namespace

void CheckTemplate(const v1::TaskTemplate& task, const ItemLimits& limits, const FieldPath& path,
                   Violations& violations) {
  TemplateCheck(limits, violations).Check(task, path);
}

}  // namespace tessera::service
