"use strict";
// Closed forms of signals and gradients at initialization: jaxvision/dynamics/theory.py and
// mean_field.py, as far as explore.html shows them. Names and formulas are theirs; a test holds the
// numbers of both against each other.

const theory = (() => {
  const NODES = Array.from({ length: 257 }, (_, i) => -10 + (20 * i) / 256);
  const DENSITY = NODES.map((z) => Math.exp((-z * z) / 2));
  const TOTAL = DENSITY.reduce((sum, w) => sum + w, 0);
  const WEIGHTS = DENSITY.map((w) => w / TOTAL);

  const logistic = (u) => 1 / (1 + Math.exp(-u));
  const VALUES = { tanh: Math.tanh, sigmoid: logistic };
  const SLOPES = {
    tanh: (u) => 1 - Math.tanh(u) ** 2,
    sigmoid: (u) => logistic(u) * logistic(-u),
  };

  // Returns E[f(u)^power], u Gaussian of variance q.
  function mean(f, q, power) {
    const std = Math.sqrt(q);
    return NODES.reduce((sum, z, i) => sum + WEIGHTS[i] * f(std * z) ** power, 0);
  }

  // Returns E[phi(u) phi(v)]; correlations other than 1 for 'relu' and 'linear' only.
  function secondMoment(activation, q, c = 1) {
    if (activation === "linear") return q * c;
    if (activation === "relu") {
      return (q * (Math.sqrt(1 - c * c) + c * (Math.PI - Math.acos(c)))) / (2 * Math.PI);
    }
    return mean(VALUES[activation], q, 2);
  }

  // Returns E[phi'(u) phi'(v)], as secondMoment.
  function slopeMoment(activation, q, c = 1) {
    if (activation === "linear") return 1;
    if (activation === "relu") return (Math.PI - Math.acos(c)) / (2 * Math.PI);
    return mean(SLOPES[activation], q, 2);
  }

  const varianceMap = (q, sigmaW, activation) => sigmaW ** 2 * secondMoment(activation, q);
  const chi = (sigmaW, q, activation) => sigmaW ** 2 * slopeMoment(activation, q);
  const exponent = (squaredFactor) => Math.log(squaredFactor) / 2;

  // Returns E[phi'^4] / E[phi'^2]^2.
  function slopeKurtosis(activation, q) {
    const square = slopeMoment(activation, q);
    const fourth = SLOPES[activation] ? mean(SLOPES[activation], q, 4) : square;
    return fourth / square ** 2;
  }

  // Returns the sigma_w at which chi_1 = 1 without biases, by bisection.
  function criticalGain(activation) {
    let [low, high] = [0, 1000];
    const bias = (q) => q - secondMoment(activation, q) / slopeMoment(activation, q);
    if (bias(low) >= 0) return 1 / Math.sqrt(slopeMoment(activation, 0));
    for (let i = 0; i < 100; i += 1) {
      const middle = (low + high) / 2;
      if (bias(middle) < 0) low = middle;
      else high = middle;
    }
    return 1 / Math.sqrt(slopeMoment(activation, low));
  }

  // Returns the squared-gradient factor of a layer of a plain net with batch norm.
  function batchNormSquaredFactor(batch, activation) {
    const c = -1 / (batch - 1);
    const [slope, slopes] = [slopeMoment(activation, 1), slopeMoment(activation, 1, c)];
    const values = secondMoment(activation, 1, c);
    return (slope + (slope + slopes + values) / (batch - 3)) / (slope - values);
  }

  // Returns the logs of the gradient's norm: 0 at the last layer, and steps added on the way down.
  function downward(steps) {
    const gradient = [0];
    for (const step of [...steps].reverse()) gradient.unshift(gradient[0] + step);
    return gradient;
  }

  // A plain net of a width, without biases: log rms of the signal, log norm of the gradient.
  function logNorms(activation, sigmaW, width, depth, inputSquare = 1) {
    let q = sigmaW ** 2 * inputSquare;
    const [signal, steps] = [[], []];
    const multiplies = activation === "relu" || activation === "linear";
    for (let layer = 0; layer < depth; layer += 1) {
      const loss = (3 * slopeKurtosis(activation, q) - 1) / width / 4;
      signal.push(Math.log(q) / 2 - (multiplies ? loss * layer : 0));
      steps.push(exponent(chi(sigmaW, q, activation)) - loss);
      q = varianceMap(q, sigmaW, activation);
    }
    return { signal, gradient: downward(steps.slice(0, -1)) };
  }

  // A plain net with batch norm, infinitely wide; 'relu' and 'linear'.
  function batchNormLogNorms(activation, sigmaW, batch, depth, inputSquare = 1) {
    const settled = exponent(varianceMap(1, sigmaW, activation));
    const signal = new Array(depth).fill(settled);
    signal[0] = exponent(sigmaW ** 2 * inputSquare);
    const step = exponent(batchNormSquaredFactor(batch, activation));
    return { signal, gradient: downward(new Array(depth - 1).fill(step)) };
  }

  // A residual net, infinitely wide; with batch norm over `batch` inputs where that is no null.
  function residualLogNorms(activation, sigmaW, depth, batch = null, inputSquare = 1) {
    const start = sigmaW ** 2 * inputSquare;
    const [signal, steps] = [[], []];
    let variance = start;
    if (batch === null) {
      for (let block = 0; block < depth; block += 1) {
        signal.push(exponent(variance));
        steps.push(exponent(1 + chi(sigmaW, variance, activation)));
        variance += varianceMap(variance, sigmaW, activation);
      }
      return { signal, gradient: downward(steps.slice(0, -1)) };
    }
    const shared = secondMoment(activation, 1, -1 / (batch - 1));
    const grown = sigmaW ** 2 * (secondMoment(activation, 1) - shared);
    const branch = batchNormSquaredFactor(batch, activation) * grown;
    for (let block = 0; block < depth; block += 1) {
      signal.push(exponent(start + block * varianceMap(1, sigmaW, activation)));
      steps.push(exponent(1 + branch / (start + block * grown)));
    }
    return { signal, gradient: downward(steps.slice(0, -1)) };
  }

  return {
    secondMoment, slopeMoment, varianceMap, chi, exponent, slopeKurtosis, criticalGain,
    batchNormSquaredFactor, logNorms, batchNormLogNorms, residualLogNorms,
  };
})();

if (typeof module !== "undefined") module.exports = theory;
