// A peer process for the benchmark: the bandwidth of reading and of scaling an array in place, and, where oneDNN's
// headers are found (-DWITH_ONEDNN), its float32 matrix product. Compiled for the machine it runs on.
//
// One request a line on the standard input, one JSON object a line on the standard output:
//   read BYTES REPEATS | scale BYTES REPEATS | matmul M N K TRANSPOSE_A TRANSPOSE_B REPEATS
//   -> {"seconds": [one per repeat]}
// Arrays are kept for the next request of the same size, and each request starts with one pass that is not timed.
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#ifdef WITH_ONEDNN
#include <dnnl.hpp>
#endif

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Floats on huge pages where the system gives them, touched by the threads that will use them.
struct Array {
  float* data = nullptr;
  int64_t size = 0;

  void resize(int64_t wanted) {
    if (wanted == size) return;
    free(data);
    constexpr size_t kPage = size_t(2) << 20;
    const size_t bytes = (static_cast<size_t>(wanted) * sizeof(float) + kPage - 1) / kPage * kPage;
    data = static_cast<float*>(aligned_alloc(kPage, bytes));
    if (data == nullptr) throw std::bad_alloc();
    madvise(data, bytes, MADV_HUGEPAGE);
    size = wanted;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < size; i++) data[i] = static_cast<float>(i % 64 - 31) / 64;
  }
};

volatile float sink;

// 128 sums at once: as many as keep the adders busy, so that only memory limits.
float read_all(const Array& x) {
  constexpr int kSums = 128;
  float total = 0;
#pragma omp parallel reduction(+ : total)
  {
    float sums[kSums] = {};
#pragma omp for schedule(static)
    for (int64_t block = 0; block < x.size / kSums; block++) {
      const float* from = x.data + block * kSums;
      for (int i = 0; i < kSums; i++) sums[i] += from[i];
    }
    for (float sum : sums) total += sum;
  }
  return total;
}

void scale_all(Array& x) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < x.size; i++) x.data[i] *= -1.0f;
}

#ifdef WITH_ONEDNN

// Both of oneDNN's ways to a product; the faster one of a shape is found at its first request and kept.
class Product {
 public:
  Product(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b)
      : m_(m), n_(n), k_(k), ta_(transpose_a), tb_(transpose_b), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    a_.resize(m * k);
    b_.resize(k * n);
    c_.resize(m * n);
    using dims = dnnl::memory::dims;
    const auto type = dnnl::memory::data_type::f32;
    const dnnl::memory::desc a({m, k}, type, ta_ ? dims{1, m} : dims{k, 1});
    const dnnl::memory::desc b({k, n}, type, tb_ ? dims{1, k} : dims{n, 1});
    const dnnl::memory::desc c({m, n}, type, dims{n, 1});
    primitive_ = dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, c), engine_));
    arguments_ = {{DNNL_ARG_SRC, dnnl::memory(a, engine_, a_.data)},
                  {DNNL_ARG_WEIGHTS, dnnl::memory(b, engine_, b_.data)},
                  {DNNL_ARG_DST, dnnl::memory(c, engine_, c_.data)}};
    const double sgemm = best_of(true), matmul = best_of(false);
    uses_sgemm_ = sgemm < matmul;
  }
  ~Product() {
    free(a_.data);
    free(b_.data);
    free(c_.data);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void run() { run(uses_sgemm_); }

 private:
  void run(bool sgemm) {
    if (sgemm) {
      dnnl_sgemm(ta_ ? 'T' : 'N', tb_ ? 'T' : 'N', m_, n_, k_, 1.0f, a_.data, ta_ ? m_ : k_, b_.data, tb_ ? k_ : n_,
                 0.0f, c_.data, n_);
    } else {
      primitive_.execute(stream_, arguments_);
      stream_.wait();
    }
  }

  double best_of(bool sgemm) {
    double best = 1e30;
    for (int i = 0; i < 8; i++) {
      const double start = now();
      run(sgemm);
      const double seconds = now() - start;
      if (i > 1 && seconds < best) best = seconds;
    }
    return best;
  }

  int64_t m_, n_, k_;
  bool ta_, tb_, uses_sgemm_ = true;
  Array a_, b_, c_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul primitive_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

std::map<std::string, Product*> products;

Product& product(const char* line, int64_t m, int64_t n, int64_t k, bool ta, bool tb) {
  Product*& found = products[line];
  if (found == nullptr) found = new Product(m, n, k, ta, tb);
  return *found;
}

#endif

template <class Body>
void timed(int repeats, Body&& body) {
  body();
  printf("{\"seconds\": [");
  for (int i = 0; i < repeats; i++) {
    const double start = now();
    body();
    printf("%s%.9g", i == 0 ? "" : ", ", now() - start);
  }
  printf("]}\n");
}

void answer(const char* line) {
  static Array array;
  long long m, n, k, bytes;
  int ta, tb, repeats;
  if (sscanf(line, "read %lld %d", &bytes, &repeats) == 2) {
    array.resize(bytes / 4);
    timed(repeats, [] { sink = read_all(array); });
  } else if (sscanf(line, "scale %lld %d", &bytes, &repeats) == 2) {
    array.resize(bytes / 4);
    timed(repeats, [] { scale_all(array); });
#ifdef WITH_ONEDNN
  } else if (sscanf(line, "matmul %lld %lld %lld %d %d %d", &m, &n, &k, &ta, &tb, &repeats) == 6) {
    char key[128];
    snprintf(key, sizeof key, "%lld %lld %lld %d %d", m, n, k, ta, tb);
    Product& found = product(key, m, n, k, ta != 0, tb != 0);
    timed(repeats, [&] { found.run(); });
#endif
  } else {
    (void)m, (void)n, (void)k, (void)ta, (void)tb;
    printf("{\"error\": \"unknown request\"}\n");
  }
}

}  // namespace

int main() {
#ifdef WITH_ONEDNN
  const dnnl_version_t* version = dnnl_version();
  printf("{\"onednn\": \"%d.%d.%d\", \"threads\": %d}\n", version->major, version->minor, version->patch,
         omp_get_max_threads());
#else
  printf("{\"onednn\": null, \"threads\": %d}\n", omp_get_max_threads());
#endif
  fflush(stdout);
  char line[256];
  while (fgets(line, sizeof line, stdin) != nullptr) {
    try {
      answer(line);
    } catch (const std::exception& error) {
      printf("{\"error\": \"%s\"}\n", error.what());
    }
    fflush(stdout);
  }
  return 0;
}
