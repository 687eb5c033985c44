//! The help of `xent eval` besides its arguments.

pub const USAGE: &str = "xent eval <LOGITS>... {--targets <FILE> | --loss kl --teacher <FILE>} [OPTIONS]";

pub const SHORT_HELP: &str = "\
Examples:
  xent eval logits.npy --targets targets.npy --verify 64
  xent eval logits.npy --targets tokens.npy --shift 1 --html report.html --rows-out rows.csv
  xent eval student.npy --loss kl --teacher teacher.npy --temperature 2 --json

Exit status: 0 done, 1 done but rows are bad (--strict) or not verified (--verify), 2 wrong input,
3 device trouble, 130 stopped. 'xent eval --help' explains everything.";

pub const HELP: &str = "\
Examples:
  xent eval logits.npy --targets targets.npy
  xent eval logits.npy --targets targets.npy --json --verify 64 --strict
  xent eval logits.npy --targets targets.npy --html report.html --rows-out rows.csv
  xent eval logits.npy --targets targets.npy --label-smoothing 0.1 --grad-out grad.npy
  xent eval logits.npy --targets tokens.npy --shift 1 --score-from 128
  xent eval student.npy --loss kl --teacher teacher.npy --temperature 2
  xent eval logits.npy --loss bce --targets labels.npy --pos-weight weights.npy
  xent eval logits.npy --loss entmax --alpha 1.5 --targets targets.npy
  xent eval similarities.npy --loss infonce --temperature 0.07
  xent eval logits.npy --soft-targets probs.npy
  xent eval student.npy --sparse-targets top_ids.npy --sparse-probs top_probs.npy
  xent eval segmentation.npy --targets pixels.npy --class-axis 1 --class-weights weights.npy
  xent eval log_probs.npy --targets targets.npy --input log-probs
  xent eval predict_proba.npy --targets targets.npy --input probs
  xent eval batch.safetensors --targets-key labels --grad-out grad.safetensors
  xent eval shards/ --targets targets.npy
  zcat logits.gz | xent eval - --dtype f32 --cols 50257 --rows 4096 --targets targets.npy

Files are .npy, .npz or .safetensors, for the logits and for all that goes with them; the content
decides which. If a file holds several arrays, the only one that fits is read, or the one that a key
names. Raw values have no header (--dtype, --cols). The files of a folder are read in the order of
their names, part-2 before part-10.

What llama-perplexity --save-all-logits writes is read, too, also from stdin: it has its targets,
and its log-probabilities are taken as they are (--input log-probs), unless --input, --temperature,
--softcap, --z-loss or --focal-gamma is given. A sequence is the second half of a chunk.

Logits may have any number of axes; one of them is the class axis. They are f16, bf16, f32, or f64
narrowed to f32. A file with a value for each row has the other axes, in the same order, or a single
axis of all rows. All files are read piece by piece, so they may be larger than memory. If the class
axis is not the last, a piece is at least what lies behind one index of the axes before it. Targets,
row weights and masks are read twice: before the first logit, to check them and add them up, and
again with the logits.

--loss kl is the divergence of the student's distribution from the teacher's: --teacher has logits
of the same shape and type, or beside f32 of any float type. --loss bce takes each class as a
yes-or-no question: --targets has 0 or 1 for each class of each row, or any float, in the layout of
the logits. --loss entmax is the loss of a model whose output is an alpha-entmax, and --loss
sparsemax that of alpha 2; targets are classes. An option that does not apply to the loss is
refused. These losses have no perplexity, no accuracy, no lse and no most probable class.

--loss infonce takes a square matrix of similarities, of each row's item with each column's; row i
and column i are a pair. The loss is the mean of two: of each row against the columns, and of each
column against the rows, at --temperature (0.07 if it is not given). The report has both, the shares
of rows and columns whose pair is the largest, and the slope by the logarithm of the scale, 1 / T.
The matrix is read into memory at once. With --json: format ('xent eval infonce'), version, xent, loss,
row_loss, column_loss, dlog_scale, row_recall_at_1, column_recall_at_1, pairs, temperature, flags,
adapter, adapter_reason, seconds, inputs, options, command, date. Targets, weights and outputs do not
apply.

--input probs takes probabilities, as scikit-learn and Keras give them: their logarithms are taken
in f32 as they are read, and normalised, so that they need not sum to 1. A target of probability 0
has an infinite loss; nothing is clipped. A number below 0 is refused.

--temperature 0.5,1,2 gives loss, perplexity, confidence and calibration error at each of up to
eight temperatures, from one read of the logits; a small input is computed by the f64 reference.
Flags, bad rows and notices are those of one temperature; beside bad rows, the mean of the finite
ones has a column of its own. With --json: format ('xent eval temperatures'), version, xent, rows,
cols, counted, ignored, flags, bad_rows, first_bad_row, notices, and arrays of temperatures, loss,
finite_mean, perplexity, accuracy, confidence, ece, mce; adapter, adapter_reason, seconds, inputs,
options, command, date. Weights of classes, label smoothing, z-loss, focal loss and outputs do not
apply.

The targets of a cross-entropy are integers of any width. A row whose target equals --ignore-index
is left out; a u32 target is compared by its bits as i32, so 4294967196 is -100. A row that is not
scored (--row-mask, --row-weights 0, --score-from and --score-to) may have any target.

With --shift N, row t is scored against the target of row t + N of its sequence. Prompts, masks and
weights are of tokens, as people have them, and move with the targets: --score-from 16 leaves out a
prompt of 16 tokens, and --row-mask takes an attention mask. This is Hugging Face's convention:
labels of -100, then logits[:, :-1] against labels[:, 1:]. --positions takes them as of the rows of
the logits instead. What is written for each row stays in the row of its logits. Sequences may
differ in length (--sequence-lengths, --sequence-per-file); nothing is scored across two of them.

The name of an output decides whether it is .npy or .safetensors. An output file appears complete or
not at all. A row that is left out has loss 0, lse 0 and class 4294967295.

--rows-out with a .csv name writes row, sequence, position, target, loss, lse, argmax and flags of
each row. A value that a row does not have is empty, such as the loss of a row that is left out.
--sequences-out writes length, scored rows, loss, weight, mean and perplexity of each sequence.
--readouts adds the target's probability, the largest probability (confidence), the rank of the
target (from 1, ties by lower index), the probability of the classes ahead of it, the entropy in
nats, the Brier score, and the margin: ln of the ratio of the two largest probabilities. They come
from the same read of the logits. Soft and sparse targets have no probability, rank and score. The
report then has their means; without a table, too.

The error of the mean is its standard error: of independent sequences if there are several, else of
independent rows. The calibration error (ECE) is the mean distance between confidence and accuracy,
in 15 bins of the confidence. A notice says that something cannot be meant, and in how many rows:
logits that are probabilities, log-probabilities above 0, targets that are no probabilities,
identical rows, one predicted class, targets whose logit is -inf, padding that is scored, a mask of
tokens under --positions, and with --check-shift targets one row off.

A row is bad if its loss is NaN or infinite, or if it has one of the flags nan_logit, infinite_logit
(+inf), target_out_of_range, invalid_target or invalid_weight. A masked_row (all logits -inf) is bad
unless --masked-row zero makes its loss 0. The report counts the bad rows. With --strict they make
the exit status 1, as a notice does; all outputs are still written.

--json prints one object. Its keys: format ('xent eval'), version (1; it rises when a key changes
its meaning), xent, loss_name (as --loss takes it), loss (reduced), sum, z_loss (the part of loss
that is z-loss), perplexity (e to the mean loss; a perplexity in the usual sense only for a plain
loss), accuracy (of the rows judged; for soft and sparse targets, against their most probable
class), complete (false if the run was stopped), rows, cols, counted, ignored, weight (what a mean
is divided by), row_weight (what the z-loss of a mean is divided by), flags, bad_rows,
first_bad_row, listed_bad_rows, row_losses (range, quantiles, histogram), positions (mean loss by position in the
sequence), adapter, seconds, logits_per_second, bytes_read, peak_memory_bytes, verification, and
the statistics: mean, finite_mean, standard_error, sequence_standard_error, bits_per_byte,
uniform_loss, perplexity_interval, judged (rows with a prediction), top_k, mean_rank,
mean_reciprocal_rank, mean_entropy, mean_brier, calibration, classes (of up to 4,096, and their
confusion for up to 512), worst_rows, notices. A number that is not finite, or undefined because no
row counts, is null; of the keys before the statistics, it is then among the flags.
docs/eval-json.md in the sources explains every key.

The report has colours on a terminal, unless NO_COLOR is set. A long run shows a progress bar on a
terminal, and elsewhere prints a line to stderr every 10 seconds.

A run saves its progress as it goes (--checkpoint-every). The outputs go to the disk first, each
beside its final place as NAME.RUN.xent-partial; then the checkpoint, LOGITS.RUN.xent-checkpoint.
RUN is a number computed from the files, the options and the adapter. After a kill, a full disk or
an error, the same command with --resume continues and gives the same digits; the saved outputs are
read once and compared with their checksums. The same command without --resume starts from the
beginning and overwrites what was left. A run that ends leaves none of these files. While a run is
in progress, no other process can start the same one: that process fails and changes nothing.

--part 3/16 evaluates the third of 16 parts of the rows, for an array of jobs on one computer or
many; --state-out writes what it found, and 'xent merge' prints from all states the report of one
run, digit by digit. Parts begin with sequences where these fit into a part. Tables of the parts
are that of the whole, one after the other: the first has the names of the columns. Streams,
several temperatures and --loss infonce have no parts. docs/parts.md in the sources has examples.

Exit status:
  0    done
  1    done, but rows are bad or there is a notice (--strict), or results are not within their error bounds of the f64
       reference (--verify); such results replace no file
  2    the command line, a file or an adapter's name is wrong, or a file cannot be read or written;
       no output file is changed, and if rows were done, --resume continues from the checkpoint
  3    the device failed, or is too small
  130  stopped by Ctrl-C: the results so far are printed, no output file is changed, and --resume
       continues from the checkpoint. If no window ends within a second, the run stops without
       printing. A second Ctrl-C ends the run at once, as a kill does; --resume then continues from
       the last checkpoint before it";
