// Activation, convolution and the moments of its result in one pass over the images (NHWC, HWIO):
//
//   h = relu(scale * (x - center) + bias + residual)      each part of it can be left out
//   y = conv(h, w)                                         square windows, stride 1 or 2
//   moments = center, rest and variance of y by channel    mean = center + rest
//
// and its gradient, in which dy = gy + what the moments add is formed while it is framed, h is
// computed again from x, and the gradient of x is masked and scaled while it lies in the cache.
//
// GCC or Clang vector extensions, no intrinsics. The batch is cut into parts by its size alone, so
// the bits do not depend on the number of threads. NaN propagates and denormals are kept: all that
// computes does so in the default floating-point environment, whatever XLA has set for its own.
// Moments cannot cancel: sums run about the mean of a part's first image, parts are joined in
// double precision.

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace {

#define INLINE static inline __attribute__((always_inline))
#define LAMBDA __attribute__((always_inline))
// A loop of its own: within a larger function its accumulators do not all stay in registers.
#define APART __attribute__((noinline))

#if defined(__AVX512F__)
constexpr int VL = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int VL = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int VL = 4, REGISTERS = 32;
#else
constexpr int VL = 4, REGISTERS = 16;
#endif

// ---------------------------------------------------------------- vectors and compile-time loops

template <int L>
struct Lanes {
  typedef float type __attribute__((vector_size(L * sizeof(float))));
};
template <>
struct Lanes<1> {
  typedef float type;
};
using Vec = Lanes<VL>::type;

template <class V>
INLINE V load(const float* p) {
  V v;
  std::memcpy(&v, p, sizeof(V));
  return v;
}
template <class V>
INLINE void store(float* p, V v) {
  std::memcpy(p, &v, sizeof(V));
}

template <class F, int... I>
INLINE void each_of(std::integer_sequence<int, I...>, F&& f) {
  (f(std::integral_constant<int, I>{}), ...);
}
// f(0), f(1), ..., f(N - 1) with constants: an accumulator so indexed stays in its register.
template <int N, class F>
INLINE void each(F&& f) {
  each_of(std::make_integer_sequence<int, N>{}, f);
}

template <int L, class F>
INLINE int channels_by(int c, int C, F&& f) {
  for (; c + L <= C; c += L) f(c, typename Lanes<L>::type{});
  return c;
}
// f(first channel, a zero of the type to compute with): whole vectors first, then the tail.
template <class F>
INLINE void over_channels(int C, F&& f) {
  int c = channels_by<VL>(0, C, f);
  if constexpr (VL > 8) c = channels_by<8>(c, C, f);
  if constexpr (VL > 4) c = channels_by<4>(c, C, f);
  channels_by<1>(c, C, f);
}

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }
// Vectors of output channels that are computed together.
inline int vectors(int channels) { return channels > VL ? 2 : 1; }

// ---------------------------------------------------------------- threads and scratch memory

class DefaultFloats {
 public:
  DefaultFloats() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloats() { std::fesetenv(&saved_); }

 private:
  std::fenv_t saved_;
};

struct Pool {
  int64_t threads;
  std::function<void(std::function<void()>)> schedule;
};

struct Tasks {
  std::atomic<int64_t> next{0}, done{0};
  std::atomic<bool> failed{false};
  int64_t count;
  const std::function<void(int64_t)>* run;
};

void work(Tasks& tasks) {
  for (;;) {
    const int64_t t = tasks.next.fetch_add(1);
    if (t >= tasks.count) return;
    try {
      DefaultFloats floats;
      (*tasks.run)(t);
    } catch (const std::bad_alloc&) {
      tasks.failed = true;
    }
    tasks.done.fetch_add(1);
  }
}

// Runs f(0) ... f(count - 1). The caller works too, and waits only for tasks that have begun.
void parallel(const Pool& pool, int64_t count, const std::function<void(int64_t)>& f) {
  auto tasks = std::make_shared<Tasks>();
  tasks->count = count;
  tasks->run = &f;
  const int64_t helpers = std::min(pool.threads, count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.schedule([tasks] { work(*tasks); });
  work(*tasks);
  for (int spins = 0; tasks->done.load() < count; ++spins) {
    if (spins > 200) std::this_thread::yield();
  }
  if (tasks->failed) throw std::bad_alloc();
}

// Zeroed memory of one thread, kept from call to call.
class Scratch {
 public:
  ~Scratch() { std::free(p_); }
  float* zeros(size_t count) {
    if (size_ < count) {
      std::free(p_);
      size_ = 0;
      p_ = static_cast<float*>(std::aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64));
      if (!p_) throw std::bad_alloc();
      size_ = count;
    }
    std::memset(p_, 0, count * sizeof(float));
    return p_;
  }

 private:
  float* p_ = nullptr;
  size_t size_ = 0;
};
thread_local Scratch frame_scratch, gradient_scratch, tail_scratch;

// ---------------------------------------------------------------- the problem

struct Shape {
  int64_t N;
  int H, W, CI, HO, WO, CO, K, S;
  int top, bottom, left, right;
  bool wrap, relu;

  size_t image() const { return size_t(H) * W * CI; }
  size_t result() const { return size_t(HO) * WO * CO; }
  size_t weights() const { return size_t(K) * K * CI * CO; }
  int padded_out() const { return round_up(CO, VL); }
  // Parts of the batch, by its shape alone: a million multiply-adds or more each, and fewer where
  // each has large sums of its own.
  int64_t parts() const {
    const int64_t most = weights() > 20000 ? 8 : 16;
    const int64_t millions = int64_t(double(N) * HO * WO * double(weights()) * 1e-6);
    return std::max<int64_t>(1, std::min({N, most, millions}));
  }
};

// An image with its padding; rows lie W + left + right pixels of ``pitch`` floats apart.
struct Frame {
  float* p;
  int H, W, pitch, top, bottom, left, right;
  bool wrap;

  int row() const { return (W + left + right) * pitch; }
  size_t size() const { return size_t(H + top + bottom) * row(); }
  float* inside() const { return p + size_t(top) * row() + size_t(left) * pitch; }
};

// Fills the padding of a torus from the pixels inside. That of zeros stays as it was allocated.
void wrap_around(const Frame& f) {
  const size_t row = f.row(), pixel = f.pitch * sizeof(float);
  for (int i = 0; i < f.H; ++i) {
    float* q = f.inside() + i * row;
    for (int j = 1; j <= f.left; ++j) {
      const int from = (f.W - j % f.W) % f.W;
      std::memcpy(q - size_t(j) * f.pitch, q + size_t(from) * f.pitch, pixel);
    }
    for (int j = 0; j < f.right; ++j) {
      std::memcpy(q + size_t(f.W + j) * f.pitch, q + size_t(j % f.W) * f.pitch, pixel);
    }
  }
  float* first = f.p + f.top * row;
  for (int i = 1; i <= f.top; ++i) {
    const int from = (f.H - i % f.H) % f.H;
    std::memcpy(first - i * row, first + from * row, row * sizeof(float));
  }
  for (int i = 0; i < f.bottom; ++i) {
    std::memcpy(first + (f.H + i) * row, first + (i % f.H) * row, row * sizeof(float));
  }
}

struct Activation {
  const float *scale, *residual;  // scale, bias and center [3, C]; either may be null
  bool relu;
};

template <class V>
INLINE V positive(V z, V v) {
  return z > 0.f ? v : V{};
}
template <class V>
INLINE V relu_of(V z) {
  return z <= 0.f ? V{} : z;  // NaN stays
}

// Frames h of one image; ``h`` [H, W, C] gets it too where it is not null.
void frame_images(const Frame& f, const Activation& act, const float* x, const float* residual,
                  float* h) {
  const int C = f.pitch;
  for (int i = 0; i < f.H; ++i) {
    float* q = f.inside() + size_t(i) * f.row();
    const size_t at = size_t(i) * f.W * C, n = size_t(f.W) * C;
    if (!act.scale && !residual && !act.relu) {
      std::memcpy(q, x + at, n * sizeof(float));
    } else {
      over_channels(C, [&](int c, auto zero) LAMBDA {
        using V = decltype(zero);
        V scale = zero + 1.f, bias = zero, center = zero;
        if (act.scale) {
          scale = load<V>(act.scale + c);
          bias = load<V>(act.scale + C + c);
          center = load<V>(act.scale + 2 * C + c);
        }
        for (size_t k = c; k < n; k += C) {
          V z = scale * (load<V>(x + at + k) - center) + bias;
          if (residual) z += load<V>(residual + at + k);
          store<V>(q + k, act.relu ? relu_of(z) : z);
        }
      });
    }
    if (h) std::memcpy(h + at, q, n * sizeof(float));
  }
  if (f.wrap) wrap_around(f);
}

// Frames dy = g + c0 + c1 * (y - center) of one image; ``terms`` is c0, c1, center or null.
void frame_gradient(const Frame& f, int C, const float* g, const float* y, const float* terms) {
  for (int i = 0; i < f.H; ++i) {
    float* q = f.inside() + size_t(i) * f.row();
    const size_t at = size_t(i) * f.W * C;
    over_channels(C, [&](int c, auto zero) LAMBDA {
      using V = decltype(zero);
      V c0 = zero, c1 = zero, center = zero;
      if (terms) {
        c0 = load<V>(terms + c);
        c1 = load<V>(terms + C + c);
        center = load<V>(terms + 2 * C + c);
      }
      for (int p = 0; p < f.W; ++p) {
        const size_t k = at + size_t(p) * C + c;
        V v = load<V>(g + k);
        if (terms) v += c0 + c1 * (load<V>(y + k) - center);
        store<V>(q + size_t(p) * f.pitch + c, v);
      }
    });
  }
  if (f.wrap) wrap_around(f);
}

// ---------------------------------------------------------------- convolution

// A convolution of a framed image with a window of ``window_rows`` x ``window_columns``.
struct Plane {
  const float* in;
  int in_row, pitch, channels;
  int window_rows, window_columns;
  const float* weights;  // packed, of the block of output channels
  float* out;
  int out_row, out_column, rows, columns;
};

// Columns of a window that one sweep takes: each number of the image is loaded once for them.
inline int group(int columns_left) {
  return columns_left == 4 ? 2 : std::min(columns_left, 3);
}

// Packs weights for blocks of up to two vectors of output channels: [block] [row] [group of
// columns] [channel] [column] [lane], lanes without a channel zero. at(i, j, c) -> row of CO.
template <class At>
void pack(float* p, int rows, int columns, int channels, int CO, int step, At at) {
  for (int o = 0; o < CO;) {
    const int lanes = vectors(CO - o) * VL, taken = std::min(lanes, CO - o);
    for (int i = 0; i < rows; ++i) {
      for (int j0 = 0; j0 < columns;) {
        const int G = group(columns - j0);
        for (int c = 0; c < channels; ++c) {
          for (int j = j0; j < j0 + G; ++j, p += lanes) {
            const float* from = at(i, j, c) + size_t(o) * step;
            for (int k = 0; k < lanes; ++k) p[k] = k < taken ? from[size_t(k) * step] : 0.f;
          }
        }
        j0 += G;
      }
    }
    o += lanes;
  }
}

// PR rows by PC columns of pixels by V vectors of channels, G columns of the window.
template <int PR, int PC, int G, int V, int S>
INLINE void tile(const Plane& p, const float* in, const float* w, float* out, bool first) {
  constexpr int LANES = V * VL;
  Vec sum[PR * PC * V];
  const auto place = [&](int i) LAMBDA {  // of sum[i] in the result
    return out + i / (PC * V) * p.out_row + i / V % PC * p.out_column + i % V * VL;
  };
  each<PR * PC * V>([&](auto i) LAMBDA { sum[i] = first ? Vec{} : load<Vec>(place(i)); });
  for (int i = 0; i < p.window_rows; ++i) {
    const float* x = in + size_t(i) * p.in_row;
    const float* k = w + size_t(i) * p.window_columns * p.channels * LANES;
    for (int c = 0; c < p.channels; ++c, ++x, k += G * LANES) {
      Vec tap[G * V];
      each<G * V>([&](auto v) LAMBDA { tap[v] = load<Vec>(k + v * VL); });
      // The compiler loads a number once for all taps that meet it.
      each<PR * PC * G * V>([&](auto n) LAMBDA {
        constexpr int v = n % V, j = n / V % G, q = n / (V * G) % PC, r = n / (V * G * PC);
        sum[(r * PC + q) * V + v] += x[r * S * p.in_row + (q * S + j) * p.pitch] * tap[j * V + v];
      });
    }
  }
  each<PR * PC * V>([&](auto i) LAMBDA { store<Vec>(place(i), sum[i]); });
}

constexpr int ACCUMULATORS = REGISTERS / 2;

template <int PC, int G, int V, int S>
APART void strip(const Plane& p, int row, int rows, int column, const float* w, bool first) {
  constexpr int PR = std::min(4, std::max(1, ACCUMULATORS / (PC * V * (S == 1 ? 1 : 4))));
  const float* in = p.in + size_t(row) * S * p.in_row + size_t(column) * S * p.pitch;
  float* out = p.out + size_t(row) * p.out_row + size_t(column) * p.out_column;
  int r = 0;
  for (; r + PR <= rows; r += PR) {
    tile<PR, PC, G, V, S>(p, in + size_t(r) * S * p.in_row, w, out + size_t(r) * p.out_row, first);
  }
  for (; PR > 1 && r < rows; ++r) {
    tile<1, PC, G, V, S>(p, in + size_t(r) * S * p.in_row, w, out + size_t(r) * p.out_row, first);
  }
}

// Four rows at a time, so that they stay in the first cache.
template <int G, int V, int S>
void sweep(const Plane& p, const float* in, const float* w, bool first) {
  constexpr int WIDE = ACCUMULATORS / V;
  Plane at = p;
  at.in = in;
  for (int row = 0; row < p.rows; row += 4) {
    const int rows = std::min(4, p.rows - row);
    int q = 0;
    for (; q + WIDE <= p.columns; q += WIDE) strip<WIDE, G, V, S>(at, row, rows, q, w, first);
    if constexpr (WIDE > 8)
      for (; q + 8 <= p.columns; q += 8) strip<8, G, V, S>(at, row, rows, q, w, first);
    if constexpr (WIDE > 4)
      for (; q + 4 <= p.columns; q += 4) strip<4, G, V, S>(at, row, rows, q, w, first);
    for (; q + 2 <= p.columns; q += 2) strip<2, G, V, S>(at, row, rows, q, w, first);
    for (; q < p.columns; ++q) strip<1, G, V, S>(at, row, rows, q, w, first);
  }
}

template <int V, int S>
void block(const Plane& p) {
  for (int j = 0; j < p.window_columns;) {
    const int G = group(p.window_columns - j);
    const float* in = p.in + size_t(j) * p.pitch;
    const float* w = p.weights + size_t(j) * p.channels * V * VL;
    if (G == 3) sweep<3, V, S>(p, in, w, j == 0);
    if (G == 2) sweep<2, V, S>(p, in, w, j == 0);
    if (G == 1) sweep<1, V, S>(p, in, w, j == 0);
    j += G;
  }
}

// All blocks of ``CO`` output channels; the channels of a tail go through memory of their own.
template <int S>
void convolve(Plane p, int CO) {
  float* out = p.out;
  const int out_row = p.out_row, out_column = p.out_column;
  for (int o = 0; o < CO;) {
    const int V = vectors(CO - o), taken = std::min(V * VL, CO - o);
    const bool whole = taken == V * VL;
    p.out = whole ? out + o : tail_scratch.zeros(size_t(p.rows) * p.columns * V * VL);
    p.out_column = whole ? out_column : V * VL;
    p.out_row = whole ? out_row : p.columns * V * VL;
    if (V == 2) block<2, S>(p);
    if (V == 1) block<1, S>(p);
    for (int i = 0; !whole && i < p.rows; ++i) {
      for (int j = 0; j < p.columns; ++j) {
        const float* from = p.out + size_t(i) * p.out_row + size_t(j) * p.out_column;
        float* to = out + size_t(i) * out_row + size_t(j) * out_column + o;
        std::memcpy(to, from, taken * sizeof(float));
      }
    }
    p.weights += size_t(p.window_rows) * p.window_columns * p.channels * V * VL;
    o += V * VL;
  }
}

// ---------------------------------------------------------------- moments

// Sums of one part of the batch about ``shift``.
struct Sums {
  std::vector<float> shift;
  std::vector<double> first, second;
  double count = 0;

  explicit Sums(int C) : shift(C), first(C), second(C) {}
};

void add_image(Sums& sums, const float* y, int pixels, int C) {
  const bool begins = sums.count == 0;
  const size_t n = size_t(pixels) * C;
  over_channels(C, [&](int c, auto zero) LAMBDA {
    using V = decltype(zero);
    constexpr int L = sizeof(V) / sizeof(float);
    if (begins) {
      V all = zero;
      for (size_t k = c; k < n; k += C) all += load<V>(y + k);
      store<V>(&sums.shift[c], all / float(pixels));
    }
    const V shift = load<V>(&sums.shift[c]);
    V first = zero, second = zero;
    for (size_t k = c; k < n; k += C) {
      const V d = load<V>(y + k) - shift;
      first += d;
      second += d * d;
    }
    float a[L], b[L];
    store<V>(a, first);
    store<V>(b, second);
    for (int l = 0; l < L; ++l) {
      sums.first[c + l] += a[l];
      sums.second[c + l] += b[l];
    }
  });
  sums.count += pixels;
}

void join(const std::vector<Sums>& parts, float* moments, int C) {
  for (int c = 0; c < C; ++c) {
    double count = 0, mean = 0, squares = 0;
    for (const Sums& s : parts) {  // Chan, Golub and LeVeque 1979
      const double inner = s.first[c] / s.count;
      const double away = s.shift[c] + inner - mean;
      const double all = count + s.count;
      squares += s.second[c] - s.first[c] * inner + away * away * (count * s.count / all);
      mean += away * (s.count / all);
      count = all;
    }
    const double variance = squares / count;
    moments[c] = float(mean);
    moments[C + c] = float(mean - double(float(mean)));
    moments[2 * C + c] = float(variance < 0 ? 0 : variance);
  }
}

// ---------------------------------------------------------------- forward

struct Forward {
  const float *x, *affine, *residual, *w;
  float *y, *moments, *h;  // the last two may be null
};

Frame image_frame(const Shape& s, float* p) {
  return {p, s.H, s.W, s.CI, s.top, s.bottom, s.left, s.right, s.wrap};
}

void forward(const Shape& s, const Forward& a, const Pool& pool) {
  DefaultFloats floats;
  std::vector<float> packed(size_t(s.K) * s.K * s.CI * s.padded_out());
  pack(packed.data(), s.K, s.K, s.CI, s.CO, 1, [&](int i, int j, int c) {
    return a.w + (size_t(i * s.K + j) * s.CI + c) * s.CO;
  });
  const int64_t parts = s.parts();
  std::vector<Sums> sums(parts, Sums(s.CO));
  const Activation act{a.affine, a.residual, s.relu};
  parallel(pool, parts, [&](int64_t part) {
    const size_t size = image_frame(s, nullptr).size();
    const Frame f = image_frame(s, frame_scratch.zeros(size));
    for (int64_t n = s.N * part / parts; n < s.N * (part + 1) / parts; ++n) {
      const size_t at = n * s.image();
      frame_images(f, act, a.x + at, a.residual ? a.residual + at : nullptr,
                   a.h ? a.h + at : nullptr);
      float* y = a.y + n * s.result();
      const Plane p{f.p,           f.row(), s.CI,        s.CI, s.K,  s.K,
                    packed.data(), y,       s.WO * s.CO, s.CO, s.HO, s.WO};
      if (s.S == 1) convolve<1>(p, s.CO);
      if (s.S == 2) convolve<2>(p, s.CO);
      if (a.moments) add_image(sums[part], y, s.HO * s.WO, s.CO);
    }
  });
  if (a.moments) join(sums, a.moments, s.CO);
}

// ---------------------------------------------------------------- gradient of the weights

struct Strides {
  int images;  // framed one after the other
  size_t x_image, g_image;
  int x_row, g_row, rows, columns, CI, CO;  // CO with the lanes of its tail
};

// One row of pixels for CB channels, G columns of a row of the window and V vectors. ``behind`` has
// the gradient j columns to the left: every number of the image is loaded once for all G.
template <int CB, int V, int G>
INLINE void slide(Vec (&sum)[CB * G * V], const float* x, const float* g, const Strides& s) {
  Vec behind[G * V];
  each<G * V>([&](auto i) LAMBDA { behind[i] = Vec{}; });
  const auto step = [&](auto from, auto to, bool inside) LAMBDA {
    each<(G - 1) * V>([&](auto i) LAMBDA { behind[G * V - 1 - i] = behind[(G - 1) * V - 1 - i]; });
    each<V>([&](auto v) LAMBDA { behind[v] = inside ? load<Vec>(g + v * VL) : Vec{}; });
    g += inside ? s.CO : 0;
    constexpr int taps = to() - from() + 1;
    each<CB * taps * V>([&](auto i) LAMBDA {
      constexpr int v = i % V, j = from() + i / V % taps, c = i / (V * taps);
      sum[(c * G + j) * V + v] += x[c] * behind[j * V + v];
    });
    x += s.CI;
  };
  constexpr std::integral_constant<int, 0> first{};
  constexpr std::integral_constant<int, G - 1> last{};
  each<G - 1>([&](auto t) LAMBDA { step(first, t, true); });
  for (int q = G - 1; q < s.columns; ++q) step(first, last, true);
  each<G - 1>([&](auto t) LAMBDA { step(std::integral_constant<int, t() + 1>{}, last, false); });
}

template <int CB, int V, int G>
INLINE void weights_tile(const float* x, const float* g, float* dw, const Strides& s) {
  Vec sum[CB * G * V];
  const auto place = [&](int i) LAMBDA {  // of sum[i] in dw
    return dw + (size_t(i / V % G) * s.CI + i / (V * G)) * s.CO + i % V * VL;
  };
  each<CB * G * V>([&](auto i) LAMBDA { sum[i] = load<Vec>(place(i)); });
  for (int n = 0; n < s.images; ++n) {
    for (int h = 0; h < s.rows; ++h) {
      const float* xh = x + n * s.x_image + size_t(h) * s.x_row;
      slide<CB, V, G>(sum, xh, g + n * s.g_image + size_t(h) * s.g_row, s);
    }
  }
  each<CB * G * V>([&](auto i) LAMBDA { store<Vec>(place(i), sum[i]); });
}

// CB of the K * CI numbers under a row of the window, at any stride.
template <int CB, int V, int S>
INLINE void weights_flat(const float* x0, const float* g0, float* dw, const Strides& s) {
  Vec sum[CB * V];
  each<CB * V>([&](auto i) LAMBDA { sum[i] = load<Vec>(dw + size_t(i / V) * s.CO + i % V * VL); });
  for (int n = 0; n < s.images; ++n) {
    for (int h = 0; h < s.rows; ++h) {
      const float* x = x0 + n * s.x_image + size_t(h) * S * s.x_row;
      const float* g = g0 + n * s.g_image + size_t(h) * s.g_row;
      for (int q = 0; q < s.columns; ++q, x += S * s.CI, g += s.CO) {
        Vec d[V];
        each<V>([&](auto v) LAMBDA { d[v] = load<Vec>(g + v * VL); });
        each<CB * V>([&](auto i) LAMBDA { sum[i] += x[i / V] * d[i % V]; });
      }
    }
  }
  each<CB * V>([&](auto i) LAMBDA { store<Vec>(dw + size_t(i / V) * s.CO + i % V * VL, sum[i]); });
}

template <int V, int G>
APART void weights_group(const float* x, const float* g, float* dw, const Strides& s) {
  constexpr int CB = V == 1 ? REGISTERS / 4 : REGISTERS / 16;
  int c = 0;
  for (; c + CB <= s.CI; c += CB) weights_tile<CB, V, G>(x + c, g, dw + size_t(c) * s.CO, s);
  for (; CB > 1 && c < s.CI; ++c) weights_tile<1, V, G>(x + c, g, dw + size_t(c) * s.CO, s);
}

template <int V, int S>
APART void weights_row(const float* x, const float* g, float* dw, int K, const Strides& s) {
  constexpr int CB = REGISTERS * 3 / 4 / V;
  const int n = K * s.CI;
  int c = 0;
  for (; c + CB <= n; c += CB) weights_flat<CB, V, S>(x + c, g, dw + size_t(c) * s.CO, s);
  for (; c + 4 <= n; c += 4) weights_flat<4, V, S>(x + c, g, dw + size_t(c) * s.CO, s);
  for (; c < n; ++c) weights_flat<1, V, S>(x + c, g, dw + size_t(c) * s.CO, s);
}

template <int V>
void weights_block(const float* x, const float* g, float* dw, int K, int S, const Strides& s) {
  for (int i = 0; i < K; ++i, x += s.x_row) {
    for (int j = 0; j < K;) {
      const int G = group(K - j);
      const bool slides = S == 1 && s.columns >= G;
      const float* xj = x + size_t(j) * s.CI;
      float* d = dw + size_t(i * K + j) * s.CI * s.CO;
      if (slides && G == 3) weights_group<V, 3>(xj, g, d, s);
      if (slides && G == 2) weights_group<V, 2>(xj, g, d, s);
      if (slides && G == 1) weights_group<V, 1>(xj, g, d, s);
      if (!slides && S == 1) weights_row<V, 1>(xj, g, d, G, s);
      if (!slides && S == 2) weights_row<V, 2>(xj, g, d, G, s);
      j += G;
    }
  }
}

// Adds to dw [K, K, CI, CO with the lanes of its tail].
void add_weights(const float* x, const float* g, float* dw, int K, int S, const Strides& s) {
  for (int o = 0; o < s.CO;) {
    const int V = vectors(s.CO - o);
    if (V == 2) weights_block<2>(x, g + o, dw + o, K, S, s);
    if (V == 1) weights_block<1>(x, g + o, dw + o, K, S, s);
    o += V * VL;
  }
}

// ---------------------------------------------------------------- gradient of the images

// The rows (or columns) u, u + S, ... of an image: which taps of the window reach them.
struct Phase {
  int taps, last, base, count;  // the last tap meets result ``base`` at the first of the rows
};

Phase phase(int u, int K, int S, int low, int size) {
  const int first = (u + low) % S;
  const int taps = first < K ? (K - first + S - 1) / S : 0;
  const int last = first + S * (taps - 1);
  const int base = taps ? (u + low - last) / S : 0;
  return {taps, last, base, (size - u + S - 1) / S};
}

// How far phases reach beyond the ``out`` results: what their frame must have before and after.
std::pair<int, int> reach(int K, int S, int low, int size, int out) {
  int before = 0, after = 0;
  for (int u = 0; u < S; ++u) {
    const Phase p = phase(u, K, S, low, size);
    if (!p.taps || !p.count) continue;
    before = std::max(before, -p.base);
    after = std::max(after, p.base + p.taps - 1 + p.count - out);
  }
  return {before, after};
}

Frame gradient_frame(const Shape& s, float* p) {
  const auto rows = reach(s.K, s.S, s.top, s.H, s.HO);
  const auto columns = reach(s.K, s.S, s.left, s.W, s.WO);
  return {p,           s.HO,          s.WO,           s.padded_out(), rows.first,
          rows.second, columns.first, columns.second, s.wrap};
}

// Gray and color images: vectors of their channels would be nearly empty, so that vectors of the
// result's channels are multiplied and each summed up in the end.
bool few_channels(const Shape& s) { return s.CI == 1 || s.CI == 3; }

// Packed weights of one tap.
size_t turned_size(const Shape& s) {
  return few_channels(s) ? size_t(s.CI) * s.padded_out() : size_t(s.CO) * round_up(s.CI, VL);
}

// [row] [column] [vector of the result's channels] [channel] [lane], lanes of no channel zero.
void pack_few(const Shape& s, const float* w, const Phase& rows, const Phase& columns, float* p) {
  for (int i = 0; i < rows.taps; ++i) {
    for (int j = 0; j < columns.taps; ++j) {
      const int tap = (rows.last - s.S * i) * s.K + columns.last - s.S * j;
      for (int o = 0; o < s.CO; o += VL) {
        for (int c = 0; c < s.CI; ++c, p += VL) {
          const float* from = w + (size_t(tap) * s.CI + c) * s.CO + o;
          for (int l = 0; l < VL; ++l) p[l] = o + l < s.CO ? from[l] : 0.f;
        }
      }
    }
  }
}

// P pixels of a row with C channels.
template <int P, int C>
INLINE void few_tile(const Plane& p, const float* in, float* out) {
  Vec sum[P * C] = {};
  const float* w = p.weights;
  for (int i = 0; i < p.window_rows; ++i) {
    // The columns of the window lie one after the other, and so do their channels.
    const float* g = in + size_t(i) * p.in_row;
    for (int k = 0; k < p.window_columns * p.pitch; k += VL, g += VL, w += C * VL) {
      each<P * C>([&](auto n) LAMBDA {
        sum[n] += load<Vec>(g + n / C * p.pitch) * load<Vec>(w + n % C * VL);
      });
    }
  }
  each<P * C>([&](auto n) LAMBDA {
    float lanes[VL], total = 0;
    store<Vec>(lanes, sum[n]);
    for (float lane : lanes) total += lane;
    out[n / C * p.out_column + n % C] = total;
  });
}

template <int C>
APART void few(const Plane& p) {
  constexpr int P = REGISTERS / 4;
  for (int row = 0; row < p.rows; ++row) {
    const float* in = p.in + size_t(row) * p.in_row;
    float* out = p.out + size_t(row) * p.out_row;
    int q = 0;
    for (; q + P <= p.columns; q += P) {
      few_tile<P, C>(p, in + size_t(q) * p.pitch, out + size_t(q) * p.out_column);
    }
    for (; q < p.columns; ++q) {
      few_tile<1, C>(p, in + size_t(q) * p.pitch, out + size_t(q) * p.out_column);
    }
  }
}

// Packs the turned weights phase by phase, channels exchanged.
void pack_turned(const Shape& s, const float* w, float* p) {
  for (int u = 0; u < s.S; ++u) {
    for (int v = 0; v < s.S; ++v) {
      const Phase rows = phase(u, s.K, s.S, s.top, s.H);
      const Phase columns = phase(v, s.K, s.S, s.left, s.W);
      if (few_channels(s)) {
        pack_few(s, w, rows, columns, p);
      } else {
        pack(p, rows.taps, columns.taps, s.CO, s.CI, s.CO, [&](int i, int j, int c) {
          const int k = rows.last - s.S * i, l = columns.last - s.S * j;
          return w + size_t(k * s.K + l) * s.CI * s.CO + c;
        });
      }
      p += size_t(rows.taps) * columns.taps * turned_size(s);
    }
  }
}

// gx of one image: a convolution of stride 1 for every phase of rows and columns.
void image_gradient(const Shape& s, const Frame& g, const float* packed, float* gx) {
  for (int u = 0; u < s.S; ++u) {
    for (int v = 0; v < s.S; ++v) {
      const Phase rows = phase(u, s.K, s.S, s.top, s.H);
      const Phase columns = phase(v, s.K, s.S, s.left, s.W);
      float* out = gx + (size_t(u) * s.W + v) * s.CI;
      if (rows.taps && columns.taps) {
        const int64_t offset = int64_t(rows.base) * g.row() + int64_t(columns.base) * g.pitch;
        const float* in = g.inside() + offset;
        const Plane p{in,     g.row(), g.pitch,          s.CO,       rows.taps,  columns.taps,
                      packed, out,     s.S * s.W * s.CI, s.S * s.CI, rows.count, columns.count};
        if (s.CI == 1) few<1>(p);
        if (s.CI == 3) few<3>(p);
        if (!few_channels(s)) convolve<1>(p, s.CI);
      }
      for (int i = 0; !(rows.taps && columns.taps) && i < rows.count; ++i) {
        for (int j = 0; j < columns.count; ++j) {
          float* to = out + (size_t(i) * s.S * s.W + size_t(j) * s.S) * s.CI;
          std::memset(to, 0, s.CI * sizeof(float));
        }
      }
      packed += size_t(rows.taps) * columns.taps * turned_size(s);
    }
  }
}

struct Backward {
  const float *x, *affine, *h, *w, *y, *moments, *gy, *gmoments, *gh;
  float *gx, *gresidual, *gaffine, *gw;
};

// What one image's gradient goes through on its way out; sums get (v (x - center), v) by channel.
void finish(const Shape& s, const Backward& a, size_t at, double* sums) {
  const int C = s.CI;
  const size_t n = s.image();
  over_channels(C, [&](int c, auto zero) LAMBDA {
    using V = decltype(zero);
    constexpr int L = sizeof(V) / sizeof(float);
    V scale = zero + 1.f, bias = zero, center = zero, first = zero, second = zero;
    if (a.affine) {
      scale = load<V>(a.affine + c);
      bias = load<V>(a.affine + C + c);
      center = load<V>(a.affine + 2 * C + c);
    }
    for (size_t k = at + c; k < at + n; k += C) {
      V v = load<V>(a.gx + k);
      if (a.gh) v += load<V>(a.gh + k);
      const V x = load<V>(a.x + k) - center;
      if (s.relu) v = positive(a.h ? load<V>(a.h + k) : scale * x + bias, v);
      if (a.gresidual) store<V>(a.gresidual + k, v);
      first += v * x;
      second += v;
      store<V>(a.gx + k, scale * v);
    }
    float one[L], two[L];
    store<V>(one, first);
    store<V>(two, second);
    for (int l = 0; l < L; ++l) {
      sums[c + l] += one[l];
      sums[C + c + l] += two[l];
    }
  });
}

// c0, c1 and center of frame_gradient.
std::vector<float> moment_terms(const Shape& s, const Backward& a) {
  std::vector<float> terms(3 * s.CO);
  const float n = float(s.N) * s.HO * s.WO;
  for (int c = 0; c < s.CO; ++c) {
    const float slope = 2 * a.gmoments[2 * s.CO + c] / n;
    terms[c] = a.gmoments[s.CO + c] / n - slope * a.moments[s.CO + c];
    terms[s.CO + c] = slope;
    terms[2 * s.CO + c] = a.moments[c];
  }
  return terms;
}

// Images that are framed together: a tile of the weights' gradient is loaded once for them all.
int64_t together(size_t floats) { return std::max<int64_t>(1, 8192 / int64_t(floats)); }

struct Part {
  std::vector<float> gw;
  std::vector<double> affine;
};

void backward_part(const Shape& s, const Backward& a, const std::vector<float>& terms,
                   const std::vector<float>& turned, int64_t begin, int64_t end, Part& part) {
  const size_t x_size = a.gw ? image_frame(s, nullptr).size() : 0;
  const size_t g_size = gradient_frame(s, nullptr).size();
  const int64_t most = std::min(together(x_size + g_size), end - begin);
  float* x0 = a.gw ? frame_scratch.zeros(most * x_size) : nullptr;
  float* g0 = gradient_scratch.zeros(most * g_size);
  const Activation act{a.h ? nullptr : a.affine, nullptr, a.h ? false : s.relu};
  const Frame f = image_frame(s, x0), g = gradient_frame(s, g0);
  for (int64_t n = begin; n < end; n += most) {
    const int images = int(std::min(most, end - n));
    for (int i = 0; i < images; ++i) {
      const size_t at = (n + i) * s.image(), out = (n + i) * s.result();
      if (a.gw) {
        const float* x = (a.h ? a.h : a.x) + at;
        frame_images(image_frame(s, x0 + i * x_size), act, x, nullptr, nullptr);
      }
      const float* y = terms.empty() ? nullptr : a.y + out;
      const Frame gi = gradient_frame(s, g0 + i * g_size);
      frame_gradient(gi, s.CO, a.gy + out, y, terms.empty() ? nullptr : terms.data());
      if (!a.gx) continue;
      image_gradient(s, gi, turned.data(), a.gx + at);
      if (a.affine || a.gh || a.gresidual || s.relu) finish(s, a, at, part.affine.data());
    }
    const Strides strides{images, x_size, g_size, f.row(), g.row(),
                          s.HO,   s.WO,   s.CI,   g.pitch};
    if (a.gw) add_weights(x0, g.inside(), part.gw.data(), s.K, s.S, strides);
  }
}

void join(const Shape& s, const Backward& a, const std::vector<Part>& parts) {
  const size_t pixels = size_t(s.K) * s.K * s.CI;
  for (size_t i = 0; a.gw && i < pixels; ++i) {
    float* to = a.gw + i * s.CO;
    std::memset(to, 0, s.CO * sizeof(float));
    for (const Part& part : parts) {
      const float* from = part.gw.data() + i * s.padded_out();
      for (int c = 0; c < s.CO; ++c) to[c] += from[c];
    }
  }
  for (int c = 0; a.gaffine && c < s.CI; ++c) {
    double scale = 0, bias = 0;
    for (const Part& part : parts) {
      scale += part.affine[c];
      bias += part.affine[s.CI + c];
    }
    a.gaffine[c] = float(scale);
    a.gaffine[s.CI + c] = float(bias);
    a.gaffine[2 * s.CI + c] = float(-bias * a.affine[c]);
  }
}

// Gradients that are not wanted are null; ``gresidual`` and ``gaffine`` need ``gx``.
void backward(const Shape& s, const Backward& a, const Pool& pool) {
  DefaultFloats floats;
  std::vector<float> terms, turned;
  if (a.gmoments) terms = moment_terms(s, a);
  if (a.gx) {
    turned.resize(s.K * s.K * turned_size(s));
    pack_turned(s, a.w, turned.data());
  }
  const int64_t count = s.parts();
  std::vector<Part> parts(count);
  parallel(pool, count, [&](int64_t t) {
    parts[t].affine.resize(2 * s.CI);
    if (a.gw) parts[t].gw.resize(size_t(s.K) * s.K * s.CI * s.padded_out());
    backward_part(s, a, terms, turned, s.N * t / count, s.N * (t + 1) / count, parts[t]);
  });
  join(s, a, parts);
}

}  // namespace

// ---------------------------------------------------------------- XLA's side

#ifndef JAXVISION_WITHOUT_XLA
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;
using Buffer = ffi::Buffer<ffi::F32>;
using Result = ffi::Result<Buffer>;

float* data(const Buffer& b) { return b.element_count() ? b.typed_data() : nullptr; }
float* data(Result& b) { return data(*b); }

using Sides = ffi::Span<const int64_t>;

Shape shape(Sides image, Sides window, Sides out, ffi::Span<const int64_t> g) {
  Shape s{};
  s.N = image[0];
  s.H = int(image[1]), s.W = int(image[2]), s.CI = int(image[3]);
  s.HO = int(out[1]), s.WO = int(out[2]), s.CO = int(out[3]);
  s.K = int(window[0]), s.S = int(g[0]);
  s.top = int(g[1]), s.bottom = int(g[2]), s.left = int(g[3]), s.right = int(g[4]);
  s.wrap = g[5] != 0, s.relu = g[6] != 0;
  return s;
}

bool is_of(size_t count, const Buffer& b) {
  return b.element_count() == 0 || b.element_count() == count;
}
bool is_of(size_t count, Result& b) { return is_of(count, *b); }

// The kernels trust in the sizes, and JAX code of another version may have made the call.
bool is_problem(Sides image, Sides window, Sides out, Sides g) {
  const bool ranks = image.size() == 4 && window.size() == 4 && out.size() == 4;
  return ranks && g.size() == 7 && (g[0] == 1 || g[0] == 2);
}

bool fits(const Shape& s) {
  return s.N > 0 && (s.H + s.top + s.bottom - s.K) / s.S + 1 == s.HO &&
         (s.W + s.left + s.right - s.K) / s.S + 1 == s.WO;
}

ffi::Error refused() {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, "act_conv: shapes do not fit");
}

template <class F>
ffi::Error guarded(ffi::ThreadPool threads, F f) {
  const Pool pool{threads.num_threads(), [&](std::function<void()> task) {
                    threads.Schedule(std::move(task));
                  }};
  try {
    f(pool);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "act_conv: out of memory");
  }
  return ffi::Error::Success();
}

ffi::Error ForwardCall(ffi::ThreadPool threads, ffi::Span<const int64_t> geometry, Buffer x,
                       Buffer w, Buffer affine, Buffer residual, Result y, Result moments,
                       Result h) {
  if (!is_problem(x.dimensions(), w.dimensions(), y->dimensions(), geometry)) return refused();
  const Shape s = shape(x.dimensions(), w.dimensions(), y->dimensions(), geometry);
  const size_t in = s.N * s.image(), out = s.N * s.result();
  const bool given = data(x) && data(w) && data(y) && is_of(in, x) && is_of(s.weights(), w);
  const bool others = is_of(3 * s.CI, affine) && is_of(in, residual) && is_of(out, y) &&
                      is_of(3 * s.CO, moments) && is_of(in, h);
  if (!given || !others || !fits(s)) return refused();
  const Forward a{data(x), data(affine), data(residual), data(w), data(y), data(moments), data(h)};
  return guarded(threads, [&](const Pool& pool) { forward(s, a, pool); });
}

ffi::Error BackwardCall(ffi::ThreadPool threads, ffi::Span<const int64_t> geometry, Buffer x,
                        Buffer w, Buffer affine, Buffer h, Buffer y, Buffer moments, Buffer gy,
                        Buffer gmoments, Buffer gh, Result gx, Result gw, Result gaffine,
                        Result gresidual) {
  // Linear maps alone leave out the images where their gradient is asked for, or the weights.
  const Sides image = x.element_count() ? x.dimensions() : gx->dimensions();
  const Sides window = w.element_count() ? w.dimensions() : gw->dimensions();
  if (!is_problem(image, window, gy.dimensions(), geometry)) return refused();
  const Shape s = shape(image, window, gy.dimensions(), geometry);
  const size_t in = s.N * s.image(), out = s.N * s.result();
  const bool images = is_of(in, x) && is_of(in, h) && is_of(in, gh) && is_of(in, gx);
  const bool maps = data(gy) && is_of(out, gy) && is_of(out, y) && is_of(in, gresidual);
  const bool weights = is_of(s.weights(), w) && is_of(s.weights(), gw);
  const bool vectors = is_of(3 * s.CI, affine) && is_of(3 * s.CI, gaffine) &&
                       is_of(3 * s.CO, moments) && is_of(3 * s.CO, gmoments);
  const bool enough = (data(w) || !data(gx)) && (data(x) || !(data(gw) || s.relu || data(affine)));
  if (!images || !maps || !weights || !vectors || !enough || !fits(s)) return refused();
  const Backward a{data(x),        data(affine), data(h),        data(w),       data(y),
                   data(moments),  data(gy),     data(gmoments), data(gh),      data(gx),
                   data(gresidual), data(gaffine), data(gw)};
  return guarded(threads, [&](const Pool& pool) { backward(s, a, pool); });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(ActConvForward, ForwardCall,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<ffi::Span<const int64_t>>("geometry")
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Ret<Buffer>()
                                  .Ret<Buffer>()
                                  .Ret<Buffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(ActConvBackward, BackwardCall,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Attr<ffi::Span<const int64_t>>("geometry")
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Arg<Buffer>()
                                  .Ret<Buffer>()
                                  .Ret<Buffer>()
                                  .Ret<Buffer>()
                                  .Ret<Buffer>());
#endif
