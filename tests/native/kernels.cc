// Runs the kernels without XLA over many shapes, beside loops in double precision.
//
// `make sanitize` builds it with the address and undefined-behaviour sanitizers. Every buffer is an
// allocation of its own, so that one number read or written beyond it is seen.

#define JAXVISION_WITHOUT_XLA
#include "../../jaxvision/native/act_conv.cc"

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>

namespace {

using Floats = std::unique_ptr<float[]>;

std::mt19937 generator(1);

Floats draw(size_t n, float scale = 1.f) {
  std::normal_distribution<float> normal(0.f, scale);
  Floats out(new float[n]);
  for (size_t i = 0; i < n; ++i) out[i] = normal(generator);
  return out;
}

Pool pool_of(int threads, std::vector<std::thread>& started) {
  return {threads, [&started](std::function<void()> task) { started.emplace_back(task); }};
}

struct Reference {
  std::vector<double> h, y, moments, dy, gh, gw, gv, gaffine;
};

int source(int i, int size, bool wrap) {
  if (wrap) return ((i % size) + size) % size;
  return i >= 0 && i < size ? i : -1;
}

// Calls f(image, i, j, row and column of the tap, their source) for every pair that meets.
template <class F>
void meet(const Shape& s, F f) {
  for (int64_t n = 0; n < s.N; ++n)
    for (int i = 0; i < s.HO; ++i)
      for (int j = 0; j < s.WO; ++j)
        for (int k = 0; k < s.K; ++k)
          for (int l = 0; l < s.K; ++l) {
            const int a = source(i * s.S + k - s.top, s.H, s.wrap);
            const int b = source(j * s.S + l - s.left, s.W, s.wrap);
            if (a < 0 || b < 0) continue;
            const size_t in = ((n * s.H + a) * s.W + b) * s.CI;
            const size_t out = ((n * s.HO + i) * s.WO + j) * s.CO;
            f(in, out, size_t(k * s.K + l) * s.CI * s.CO);
          }
}

Reference reference(const Shape& s, const Forward& f, const float* gy, const float* gm,
                    const float* gh) {
  Reference r;
  const size_t in = s.N * s.image(), out = s.N * s.result();
  r.h.resize(in), r.y.resize(out), r.dy.resize(out), r.gh.resize(in), r.gv.resize(in);
  r.gw.resize(s.weights()), r.gaffine.resize(3 * s.CI), r.moments.resize(2 * s.CO);
  for (size_t i = 0; i < in; ++i) {
    const int c = i % s.CI;
    double z = f.x[i];
    if (f.affine) {
      z = f.affine[c] * (z - f.affine[2 * s.CI + c]) + double(f.affine[s.CI + c]);
    }
    if (f.residual) z += f.residual[i];
    r.h[i] = s.relu && z < 0 ? 0 : z;
  }
  meet(s, [&](size_t a, size_t b, size_t w) {
    for (int c = 0; c < s.CI; ++c)
      for (int o = 0; o < s.CO; ++o) r.y[b + o] += r.h[a + c] * f.w[w + size_t(c) * s.CO + o];
  });
  const double n = double(s.N) * s.HO * s.WO;
  for (int o = 0; o < s.CO; ++o) {
    double mean = 0;
    for (size_t i = o; i < out; i += s.CO) mean += r.y[i] / n;
    r.moments[o] = mean;
    for (size_t i = o; i < out; i += s.CO) {
      r.moments[s.CO + o] += (r.y[i] - mean) * (r.y[i] - mean) / n;
      r.dy[i] = gy[i];
      if (gm) r.dy[i] += gm[s.CO + o] / n + 2 * gm[2 * s.CO + o] * (r.y[i] - mean) / n;
    }
  }
  meet(s, [&](size_t a, size_t b, size_t w) {
    for (int c = 0; c < s.CI; ++c)
      for (int o = 0; o < s.CO; ++o) {
        r.gh[a + c] += r.dy[b + o] * f.w[w + size_t(c) * s.CO + o];
        r.gw[w + size_t(c) * s.CO + o] += r.dy[b + o] * r.h[a + c];
      }
  });
  for (size_t i = 0; i < in; ++i) {
    const int c = i % s.CI;
    const double v = s.relu && r.h[i] <= 0 ? 0 : r.gh[i] + (gh ? gh[i] : 0);
    const double scale = f.affine ? f.affine[c] : 1, center = f.affine ? f.affine[2 * s.CI + c] : 0;
    r.gaffine[c] += v * (f.x[i] - center);
    r.gaffine[s.CI + c] += v;
    r.gaffine[2 * s.CI + c] -= v * scale;
    r.gv[i] = v;
  }
  return r;
}

int failures = 0;

void compare(const char* what, const float* got, const std::vector<double>& wanted, double terms) {
  double largest = 0, off = 0;
  for (double v : wanted) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < wanted.size(); ++i) off = std::max(off, std::abs(got[i] - wanted[i]));
  if (off <= 2e-7 * (4 + std::sqrt(terms)) * (largest + 0.3)) return;
  std::printf("  %s is off by %g of %g\n", what, off, largest);
  ++failures;
}

// Gradients of the images without the images, and of the weights without the weights.
void check_alone(const Shape& s, const Backward& all, const Reference& e, int threads) {
  Floats gx(new float[s.N * s.image()]), gw(new float[s.weights()]);
  Backward images{}, weights{};
  images.w = all.w, images.gy = all.gy, images.gx = gx.get();
  weights.x = all.x, weights.gy = all.gy, weights.gw = gw.get();
  std::vector<std::thread> started;
  backward(s, images, pool_of(threads, started));
  backward(s, weights, pool_of(threads, started));
  for (std::thread& thread : started) thread.join();
  const double window = double(s.K) * s.K, pixels = double(s.N) * s.HO * s.WO;
  compare("gx alone", gx.get(), e.gv, window * s.CO);
  compare("gw alone", gw.get(), e.gw, pixels + window * s.CI);
}

void check(const Shape& s, bool affine, bool residual, bool moments, int threads) {
  const size_t in = s.N * s.image(), out = s.N * s.result();
  Floats x = draw(in), w = draw(s.weights(), 1 / std::sqrt(float(s.K * s.K * s.CI)));
  Floats a = draw(3 * s.CI), r = draw(in), gy = draw(out), gm = draw(3 * s.CO), gh = draw(in);
  Floats y(new float[out]), m(new float[3 * s.CO]), h(new float[in]);
  Floats gx(new float[in]), gr(new float[in]), ga(new float[3 * s.CI]), gw(new float[s.weights()]);
  for (int i = 0; i < 2 * s.CI; i += 3) a[i] += 2;
  gm[0] = 0;
  const Forward f{x.get(), affine ? a.get() : nullptr, residual ? r.get() : nullptr, w.get(),
                  y.get(), moments ? m.get() : nullptr, residual ? h.get() : nullptr};
  std::vector<std::thread> started;
  forward(s, f, pool_of(threads, started));
  const Backward b{f.x, f.affine, f.h, f.w, f.y, f.moments, gy.get(),
                   moments ? gm.get() : nullptr, residual ? gh.get() : nullptr, gx.get(),
                   residual ? gr.get() : nullptr, affine ? ga.get() : nullptr, gw.get()};
  backward(s, b, pool_of(threads, started));
  for (std::thread& thread : started) thread.join();
  const Reference e = reference(s, f, b.gy, b.gmoments, b.gh);
  const double window = double(s.K) * s.K, pixels = double(s.N) * s.HO * s.WO;
  const int before = failures;
  compare("y", y.get(), e.y, window * s.CI);
  for (int o = 0; moments && o < s.CO; ++o) {  // center and rest are one number; then the variance
    m[o] += m[s.CO + o];
    m[s.CO + o] = m[2 * s.CO + o];
  }
  if (moments) compare("moments", m.get(), e.moments, window * s.CI);
  if (residual) compare("h", h.get(), e.h, 1);
  if (residual) compare("gr", gr.get(), e.gv, window * s.CO);
  compare("gw", gw.get(), e.gw, pixels + window * s.CI);
  if (affine) compare("gaffine", ga.get(), e.gaffine, double(s.N) * s.H * s.W + window * s.CO);
  std::vector<double> scaled(e.gv);
  for (size_t i = 0; i < in; ++i) scaled[i] *= affine ? a[i % s.CI] : 1;
  compare("gx", gx.get(), scaled, window * s.CO);
  if (!affine && !residual && !moments && !s.relu) check_alone(s, b, e, threads);
  if (failures > before) {
    std::printf("N %d image %dx%dx%d out %d window %d stride %d pads %d %d %d %d wrap %d\n",
                int(s.N), s.H, s.W, s.CI, s.CO, s.K, s.S, s.top, s.bottom, s.left, s.right, s.wrap);
  }
}

Shape shape_of(int n, int h, int w, int ci, int co, int k, int stride, const int (&pads)[4],
               bool wrap, bool relu) {
  Shape s{};
  s.N = n, s.H = h, s.W = w, s.CI = ci, s.CO = co, s.K = k, s.S = stride;
  s.top = pads[0], s.bottom = pads[1], s.left = pads[2], s.right = pads[3];
  s.wrap = wrap, s.relu = relu;
  s.HO = (h + pads[0] + pads[1] - k) / stride + 1;
  s.WO = (w + pads[2] + pads[3] - k) / stride + 1;
  return s;
}

}  // namespace

int main() {
  const int channels[][2] = {{1, 1}, {3, 16}, {16, 16}, {5, 7}, {8, 24}, {33, 20}, {17, 40}};
  const int images[][3] = {{1, 8, 8}, {2, 1, 1}, {3, 2, 2}, {9, 4, 4}, {2, 7, 19}, {1, 9, 35}};
  int shapes = 0;
  for (int k = 1; k <= 7; ++k) {
    for (int stride = 1; stride <= 2; ++stride) {
      for (const auto& c : channels) {
        for (const auto& i : images) {
          const int low = (k - 1) / 2, high = k / 2, some = (k - 1) / 3;
          const int pads[][4] = {{low, high, low, high}, {0, 0, 0, 0}, {k - 1, some, some, k - 1}};
          for (const auto& pad : pads) {
            if (i[1] + pad[0] + pad[1] < k || i[2] + pad[2] + pad[3] < k) continue;
            const bool wrap = stride == 1 && &pad == &pads[0] && shapes % 2;
            const int mode = shapes % 7;  // no divisor of the other choices
            const bool plain = mode > 4;
            const bool relu = mode > 1 && !plain;
            const Shape s = shape_of(i[0], i[1], i[2], c[0], c[1], k, stride, pad, wrap, relu);
            const bool affine = mode > 0 && !plain, residual = mode > 2 && !plain;
            check(s, affine, residual, mode != 1 && !plain, 1 + shapes % 3);
            ++shapes;
          }
        }
      }
    }
  }
  std::printf("%d shapes, %d failures\n", shapes, failures);
  return failures > 0;
}
