// Numbers as the texts write them: a true minus, fixed digits, and powers of ten where needed.

const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

const FROM_RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

// A name within other words, whose figures keep their order behind a name that is written from right to left.
export const isolated = (name) => (FROM_RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name);

function special(value) {
  if (Number.isNaN(value)) return "NaN";
  if (value === Infinity) return "∞";
  if (value === -Infinity) return "−∞";
  return null;
}

// A fixed number of digits after the point, thousands apart; a power of ten from a million on.
export function fixed(value, digits = 4) {
  if (special(value)) return special(value);
  if (Math.abs(value) >= 1e6) return scientific(value, 3);
  const written = Number(Number(value).toFixed(digits));
  // The sum takes the sign from −0.
  return (written + 0).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

// About `digits` significant digits, with a power of ten for very large and very small numbers.
export function short(value, digits = 4) {
  if (special(value)) return special(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return scientific(value, digits - 1);
  return fixed(value, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
}

// An exponential: three digits after the point, as the texts have it, or a power of ten.
export const exponential = (value) => (value === 0 || (value >= 0.01 && value < 1e5) ? fixed(value, value === 0 ? 0 : 3) : short(value));

// A logit in a text: two digits after the point, or more if it has more.
export function logit(value) {
  if (special(value) || Math.abs(value) >= 1e6) return short(value);
  const hasTwoDigits = Math.abs(value * 100 - Math.round(value * 100)) < 1e-3;
  const isLargeAndWhole = Math.abs(value) >= 100 && Number.isInteger(value);
  return fixed(value, isLargeAndWhole ? 0 : hasTwoDigits ? 2 : 4);
}

// A share of a target: whole, or four digits.
export const share = (value) => (Number.isInteger(value) ? fixed(value, 0) : fixed(value, 4));

export function scientific(value, digits = 2) {
  if (special(value) || value === 0) return special(value) ?? "0";
  const [mantissa, exponent] = value.toExponential(digits).split("e");
  const power = [...exponent.replace("+", "")].map((digit) => SUPERSCRIPTS[digit]).join("");
  return `${mantissa.replace("-", "−")} × 10${power}`;
}

// A logit for a text field: no more digits than it has in f32.
export const plain = (value) => String(Number(Number(value).toPrecision(7)));

// A probability: four digits, and never a 0 or 1 that it is not.
export function prob(value) {
  if (special(value) || value === 0) return special(value) ?? "0";
  if (value < 0.00005) return scientific(value, 1);
  if (value < 1 && value >= 0.99995) return `1 − ${scientific(1 - value, 1)}`;
  return fixed(value, 4);
}

// A loss: four digits after the point, or four significant ones if it is small.
export const nats = (loss) => (Math.abs(loss) < 0.05 ? short(loss) : fixed(loss, 4));

export const percent = (value) => `${fixed(100 * value, value > 0.1 && value < 0.995 ? 0 : 1)} %`;
export const integer = (value) => Number(value).toLocaleString("en");

// 12,400,000 → 12.4 M
export function si(value, unit = "") {
  const [factor, prefix] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => value >= size) ?? [1, ""];
  return `${Number((value / factor).toPrecision(3)).toLocaleString("en")} ${prefix}${unit}`.trim();
}
