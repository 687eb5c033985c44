//! Which arguments of `xent eval` apply to which loss.

use xent::Result;

use super::eval::{EvalArgs, Input, LossName};
use super::score::MaskedRow;
use crate::output::bad_argument;

const CROSS_ENTROPY: &[LossName] = &[LossName::CrossEntropy];
const KL: &[LossName] = &[LossName::Kl];
const BCE: &[LossName] = &[LossName::Bce];
const NOT_KL: &[LossName] = &[LossName::CrossEntropy, LossName::Bce];
const NOT_BCE: &[LossName] = &[LossName::CrossEntropy, LossName::Kl];

impl EvalArgs {
    /// Refuses arguments that do not apply to the loss, and a loss without its targets or its teacher.
    pub fn check_loss(&self) -> Result<()> {
        let Self { targets, loss, rows, output, .. } = self;
        let name = loss.name;
        for (flag, is_given, applies_to) in [
            ("--targets", targets.targets.is_some(), NOT_KL),
            ("--targets-key", targets.targets_key.is_some(), NOT_KL),
            ("--soft-targets", targets.soft_targets.is_some(), CROSS_ENTROPY),
            ("--sparse-targets", targets.sparse_targets.is_some(), CROSS_ENTROPY),
            ("--teacher", targets.teacher.is_some(), KL),
            ("--input", self.input != Input::Logits, CROSS_ENTROPY),
            ("--class-weights", loss.class_weights.is_some(), NOT_KL),
            ("--pos-weight", loss.pos_weight.is_some(), BCE),
            ("--label-smoothing", loss.label_smoothing != 0.0, CROSS_ENTROPY),
            ("--softcap", loss.score.softcap.is_some(), CROSS_ENTROPY),
            ("--temperature", loss.score.temperature != 1.0, NOT_BCE),
            ("--scale-by-t-squared", loss.scale_by_t_squared, KL),
            ("--masked-row", loss.score.masked_row != MaskedRow::Nan, NOT_BCE),
            ("--z-loss", loss.z_loss != 0.0, CROSS_ENTROPY),
            ("--focal-gamma", loss.focal_gamma != 0.0, CROSS_ENTROPY),
            ("--ignore-index", rows.ignore_index != -100, CROSS_ENTROPY),
            ("--shift", rows.shift.is_some(), CROSS_ENTROPY),
            ("--score-from", rows.score_from.is_some(), CROSS_ENTROPY),
            ("--score-to", rows.score_to.is_some(), CROSS_ENTROPY),
            ("--lse-out", output.lse_out.is_some(), CROSS_ENTROPY),
            ("--argmax-out", output.argmax_out.is_some(), CROSS_ENTROPY),
            ("--readouts", output.readouts, CROSS_ENTROPY),
            ("--top-k", output.top_k.is_some(), CROSS_ENTROPY),
        ] {
            if is_given && !applies_to.contains(&name) {
                return Err(bad_argument(flag, format!("does not apply to --loss {}", name.flag())));
            }
        }
        let is_in_logits = targets.targets_key.is_some();
        let (flag, is_given) = match name {
            LossName::CrossEntropy => {
                let of_rows = targets.targets.is_some() || targets.sparse_targets.is_some();
                ("--targets", of_rows || targets.soft_targets.is_some() || is_in_logits)
            }
            LossName::Kl => ("--teacher", targets.teacher.is_some()),
            LossName::Bce => ("--targets", targets.targets.is_some() || is_in_logits),
        };
        if !is_given {
            return Err(bad_argument(flag, format!("is needed by --loss {}", name.flag())));
        }
        if rows.sequence == Some(0) && !name.has_classes() {
            return Err(bad_argument("--sequence", "must be at least 1"));
        }
        Ok(())
    }
}
