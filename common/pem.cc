#include "common/pem.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

template <auto free>
struct Free {
  void operator()(auto* object) const { free(object); }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

Bio Open(absl::string_view pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// For a password nobody is asked.
int NoPassword(char*, int, int, void*) { return -1; }

Certificate NextCertificate(BIO* bio) {
  return Certificate(PEM_read_bio_X509(bio, nullptr, NoPassword, nullptr));
}

absl::Time TimeOf(const ASN1_TIME* time) {
  std::tm tm = {};
  if (ASN1_TIME_to_tm(time, &tm) != 1) return absl::InfinitePast();  // As damaged as it is invalid.
  return absl::FromTM(tm, absl::UTCTimeZone());
}

std::string Text(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

}  // namespace

absl::Status CheckCertificates(absl::string_view pem) {
  ERR_clear_error();
  const Bio bio = Open(pem);
  int count = 0;
  while (NextCertificate(bio.get()) != nullptr) ++count;
  const bool at_the_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_the_end) {
    return absl::InvalidArgumentError(
        absl::StrCat("is damaged: its certificate number ", count + 1, " cannot be read"));
  }
  if (count == 0) return absl::InvalidArgumentError("holds no certificate in PEM");
  return absl::OkStatus();
}

absl::Status CheckPrivateKey(absl::string_view pem, absl::string_view certificates) {
  const Bio bio = Open(pem);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  const Bio chain = Open(certificates);
  const Certificate certificate = NextCertificate(chain.get());
  absl::Status status;
  if (key == nullptr) {
    status = absl::InvalidArgumentError("holds no private key in PEM that is not encrypted");
  } else if (certificate == nullptr || X509_check_private_key(certificate.get(), key.get()) != 1) {
    status = absl::InvalidArgumentError("is not the certificate's private key");
  }
  ERR_clear_error();
  return status;
}

std::vector<Validity> ValiditiesOf(absl::string_view pem) {
  const Bio bio = Open(pem);
  std::vector<Validity> validities;
  while (const Certificate certificate = NextCertificate(bio.get())) {
    validities.push_back({TimeOf(X509_get0_notBefore(certificate.get())),
                          TimeOf(X509_get0_notAfter(certificate.get()))});
  }
  ERR_clear_error();
  return validities;
}

absl::Status CheckTime(const Validity& validity, absl::Time now) {
  if (now > validity.end) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot be used: its certificate expired on ", Text(validity.end)));
  }
  if (now < validity.begin) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot be used: its certificate is not valid before ", Text(validity.begin)));
  }
  return absl::OkStatus();
}

absl::Status CheckRoots(absl::string_view pem, absl::Time now) {
  absl::Status status = CheckCertificates(pem);
  if (!status.ok()) return status;
  for (const Validity& validity : ValiditiesOf(pem)) {
    status = CheckTime(validity, now);
    if (status.ok()) break;
  }
  return status;
}

}  // namespace tessera
