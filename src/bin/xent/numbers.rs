//! Formatting numbers for people.

/// A value with this number of decimals. From 1e12 on, it is written with a power of ten, and so is a value that would be left
/// with one digit or none.
pub fn decimals(value: f64, decimals: usize) -> String {
    if value != 0.0 && decimals >= 4 && value.abs() < 10f64.powi(1 - decimals as i32) {
        return format!("{value:.2e}");
    }
    fixed(value, decimals)
}

/// A value with this number of decimals, however small it is; from 1e12 on, as a power of ten.
pub fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() && value.abs() >= 1e12 {
        format!("{value:.decimals$e}")
    } else {
        format!("{value:.decimals$}")
    }
}

/// The shortest text that is read back as this f32, with an exponent for small values: `1e-30`.
pub fn shortest(value: f32) -> String {
    format!("{value:?}")
}

/// The number with the digits that an f32 was given by: 0.07, and not the f64 0.07000000029802322 that is equal to it.
pub fn as_given(value: f32) -> f64 {
    shortest(value).parse().unwrap_or(value.into())
}

/// 1234567 as 1,234,567.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits, the SI prefix and the unit: 2.64 GB, 81.2 M logits.
pub fn si(value: f64, unit: &str) -> String {
    let (scaled, prefix) = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")]
        .into_iter()
        .find(|&(scale, _)| value >= scale)
        .map_or((value, ""), |(scale, prefix)| (value / scale, prefix));
    let decimals = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.decimals$} {}", format!("{prefix}{unit}").trim_start())
}

/// A time in its two largest units: 42 s, 3 min 5 s, 2 h 14 min, 3 d 7 h.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds >= 1e15 {
        return "for ever".to_owned();
    }
    let seconds = seconds.max(0.0).round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let grouped = [0, 12, 999, 1000, 16_384, 1_234_567].map(thousands);
        assert_eq!(grouped, ["0", "12", "999", "1,000", "16,384", "1,234,567"]);
        let given = [0.07f32, 1e-30, 2.0, f32::MAX, f32::INFINITY].map(as_given);
        assert_eq!(given, [0.07, 1e-30, 2.0, 3.4028235e38, f64::INFINITY]);
        let short = [0.0, 7.0, 999.0, 1234.0, 81.2e6, 2.64e9].map(|value| si(value, "B"));
        assert_eq!(short, ["0.00 B", "7.00 B", "999 B", "1.23 kB", "81.2 MB", "2.64 GB"]);
        let values = [1.25, 500f64.exp(), f64::INFINITY, f64::NAN].map(|value| decimals(value, 4));
        assert_eq!(values, ["1.2500", "1.4036e217", "inf", "NaN"]);
        let small = [(1e-5, 6), (9.9e-6, 6), (-4.56e-9, 6), (0.0, 6), (4e-4, 4), (0.004, 3)];
        let small = small.map(|(value, digits)| decimals(value, digits));
        assert_eq!(small, ["0.000010", "9.90e-6", "-4.56e-9", "0.000000", "4.00e-4", "0.004"]);
        assert_eq!(fixed(4e-9, 6), "0.000000");
        assert_eq!([457.0, 81.2e6].map(|value| si(value, " rows")), ["457 rows", "81.2 M rows"]);
        let times = [0.2, 59.4, 59.6, 185.0, 8_040.0, 284_400.0, f64::INFINITY].map(duration);
        assert_eq!(times, ["0 s", "59 s", "1 min 0 s", "3 min 5 s", "2 h 14 min", "3 d 7 h", "for ever"]);
    }
}
