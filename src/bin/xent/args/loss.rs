//! Which arguments of `xent eval` apply to which loss.

use xent::eval::files::TensorFile;
use xent::{Error, Result};

use super::eval::{EvalArgs, Input, LossName, TargetArgs};
use crate::output::bad_argument;

const CROSS_ENTROPY: &[LossName] = &[LossName::CrossEntropy];
const KL: &[LossName] = &[LossName::Kl];
const BCE: &[LossName] = &[LossName::Bce];
const ENTMAX: &[LossName] = &[LossName::Entmax];
/// Losses whose targets are classes.
const OF_CLASSES: &[LossName] = &[LossName::CrossEntropy, LossName::Entmax, LossName::Sparsemax];
const NOT_KL: &[LossName] = &[LossName::CrossEntropy, LossName::Bce, LossName::Entmax, LossName::Sparsemax];
const NOT_BCE: &[LossName] = &[LossName::CrossEntropy, LossName::Kl, LossName::Entmax, LossName::Sparsemax];
const WEIGHTED: &[LossName] = &[LossName::CrossEntropy, LossName::Bce];
const WITH_TEMPERATURE: &[LossName] = &[LossName::CrossEntropy, LossName::Kl, LossName::InfoNce];

/// Why the targets of llama.cpp's saved logits are not shifted.
pub const OWN_TARGETS: &str = "the targets in the file of the logits are those of its rows already";

fn as_flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

impl EvalArgs {
    /// Whether an argument was given, at its default or not.
    fn is_given(&self, name: &str) -> bool {
        self.given.has(name)
    }

    /// Whether the targets are those that llama.cpp's saved logits hold, or must be: a stream is not read yet.
    fn has_own_targets(&self) -> bool {
        let TargetArgs { targets, targets_key, soft_targets, sparse_targets, teacher, .. } = &self.targets;
        let given = [targets, soft_targets, sparse_targets, teacher].into_iter().any(Option::is_some);
        !given && targets_key.is_none() && (self.logits.is_stream() || self.logits.are_of_llama_cpp())
    }

    /// Refuses logits whose format does not fit the arguments: log-probabilities as probabilities, and a stream that has to
    /// hold the targets and does not.
    pub fn check_format(&self, logits: &TensorFile) -> Result<()> {
        if self.input == Input::Probs && logits.is_llama_cpp() {
            let why = "probs does not apply to llama.cpp's saved logits, which are log-probabilities";
            return Err(bad_argument("--input", why));
        }
        if !self.logits.is_stream() || !self.has_own_targets() {
            return Ok(());
        }
        match (logits.is_llama_cpp(), self.rows.shift) {
            (true, None) => Ok(()),
            (true, Some(_)) => Err(bad_argument("--shift", OWN_TARGETS)),
            (false, _) => Err(is_needed("--targets", self.loss.name)),
        }
    }

    /// Refuses arguments that do not apply to the loss, and a loss without its targets or its teacher.
    pub fn check_loss(&self) -> Result<()> {
        let Self { targets, loss, rows, .. } = self;
        let name = loss.name;
        for (name_of, applies_to) in [
            ("targets", NOT_KL),
            ("targets_key", NOT_KL),
            ("soft_targets", CROSS_ENTROPY),
            ("sparse_targets", CROSS_ENTROPY),
            ("sparse_probs", CROSS_ENTROPY),
            ("teacher", KL),
            ("teacher_key", KL),
            ("input", CROSS_ENTROPY),
            ("class_weights", WEIGHTED),
            ("pos_weight", BCE),
            ("alpha", ENTMAX),
            ("label_smoothing", CROSS_ENTROPY),
            ("softcap", CROSS_ENTROPY),
            ("temperature", WITH_TEMPERATURE),
            ("scale_by_t_squared", KL),
            ("masked_row", NOT_BCE),
            ("z_loss", CROSS_ENTROPY),
            ("focal_gamma", CROSS_ENTROPY),
            ("ignore_index", OF_CLASSES),
            ("shift", OF_CLASSES),
            ("sequence_lengths", OF_CLASSES),
            ("sequence_per_file", OF_CLASSES),
            ("score_from", OF_CLASSES),
            ("score_to", OF_CLASSES),
            ("positions", OF_CLASSES),
            ("lse_out", CROSS_ENTROPY),
            ("argmax_out", CROSS_ENTROPY),
            ("readouts", CROSS_ENTROPY),
            ("top_k", CROSS_ENTROPY),
            ("names", CROSS_ENTROPY),
            ("check_shift", CROSS_ENTROPY),
        ] {
            if self.is_given(name_of) && !applies_to.contains(&name) {
                return Err(bad_argument(
                    as_flag(name_of),
                    format!("does not apply to --loss {}", name.flag()),
                ));
            }
        }
        for (name_of, needs) in [("sparse_probs", "sparse_targets"), ("teacher_key", "teacher")] {
            if self.is_given(name_of) && !self.is_given(needs) {
                let [flag, needs] = [name_of, needs].map(as_flag);
                return Err(bad_argument(flag, format!("needs {needs}")));
            }
        }
        let in_positions = ["shift", "score_from", "score_to", "row_mask", "row_weights"];
        for (name_of, needs) in [("out_dtype", &["grad_out"][..]), ("positions", &in_positions)] {
            if self.is_given(name_of) && !needs.iter().any(|name| self.is_given(name)) {
                let needs: Vec<String> = needs.iter().map(|name| as_flag(name)).collect();
                return Err(bad_argument(as_flag(name_of), format!("needs {}", needs.join(" or "))));
            }
        }
        let is_of_classes = targets.soft_targets.is_none() && targets.sparse_targets.is_none();
        for (name_of, applies) in [
            // As PyTorch, which takes no other than its default there.
            ("ignore_index", targets.soft_targets.is_none()),
            ("top_k", is_of_classes),
            ("check_shift", is_of_classes),
        ] {
            if self.is_given(name_of) && !applies {
                return Err(bad_argument(
                    as_flag(name_of),
                    "does not apply to targets that are probabilities",
                ));
            }
        }
        if rows.ignore_index.len() > 1 && !is_of_classes {
            return Err(bad_argument(
                "--ignore-index",
                "takes one value unless the targets are one class a row",
            ));
        }
        if self.input == Input::Probs && self.is_given("grad_out") {
            return Err(bad_argument(
                "--grad-out",
                "does not apply to probabilities: it is the gradient of logits",
            ));
        }
        let is_in_logits = targets.targets_key.is_some();
        let (flag, is_given) = match name {
            LossName::CrossEntropy => {
                let of_rows = targets.targets.is_some() || targets.sparse_targets.is_some();
                let has_any = of_rows || targets.soft_targets.is_some() || is_in_logits;
                ("--targets", has_any || self.has_own_targets())
            }
            LossName::Kl => ("--teacher", targets.teacher.is_some()),
            LossName::Bce => ("--targets", targets.targets.is_some() || is_in_logits),
            // The pairs are on the diagonal.
            LossName::InfoNce => ("--targets", true),
            LossName::Entmax | LossName::Sparsemax => {
                ("--targets", targets.targets.is_some() || is_in_logits || self.has_own_targets())
            }
        };
        if !is_given {
            return Err(match self.logits.has_integers() && flag == "--targets" {
                true => {
                    let why = format!("is needed by --loss {}, or --targets-key", name.flag());
                    bad_argument(flag, format!("{why}: there are integers beside the logits"))
                }
                false => is_needed(flag, name),
            });
        }
        if rows.shift.is_some() && self.has_own_targets() && !self.logits.is_stream() {
            return Err(bad_argument("--shift", OWN_TARGETS));
        }
        if rows.sequence == Some(0) && !OF_CLASSES.contains(&name) {
            return Err(bad_argument("--sequence", "must be at least 1"));
        }
        Ok(())
    }
}

fn is_needed(flag: &str, name: LossName) -> Error {
    bad_argument(flag, format!("is needed by --loss {}", name.flag()))
}
