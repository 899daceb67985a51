package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/runtime"
)

func newEval(e *env) *cobra.Command {
	var source, normalize string
	var config runtime.EvaluatorConfig
	var asJSON bool
	c := &cobra.Command{
		Use:   "eval MODEL.onnx --data SOURCE",
		Short: "Measure a classifier on a test set",
		Long: `Measure a classifier on the test set of a data source, or on all of it if it has no test set: accuracy, and mean
cross-entropy of the softmax of the scores. The model runs in inference form: BatchNormalization by its running statistics,
no Dropout. Give --normalize as in training.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if source == "" {
				return usagef("--data is required: a folder of idx files, FILE.npz, or digits")
			}
			if config.Batch < 0 {
				return usagef("--batch %d: want at least 1", config.Batch)
			}
			m, err := onnx.Read(args[0])
			if err != nil {
				return err
			}
			split, err := openData(source, normalize)
			if err != nil {
				return err
			}
			if m, err = passes.Computable(m, config.Logits); err != nil {
				return err
			}
			ev, err := runtime.NewEvaluator(m, split, config)
			if err != nil {
				return err
			}
			defer func() { _ = ev.Close() }()
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			d, part := split.Test, "test"
			if d == nil {
				d, part = split.Train, "all"
			}
			score, err := ev.Evaluate(ctx, d)
			if err != nil {
				return err
			}
			if score.Loss-score.Loss != 0 {
				return fmt.Errorf("%s: the scores are not finite (NaN or infinite); the weights or the samples are damaged", args[0])
			}
			if asJSON {
				return printJSON(e.stdout, score)
			}
			_, err = fmt.Fprintf(e.stdout, "accuracy %s, loss %.4f on %d %s samples\n", percent(score.Accuracy), score.Loss, score.Samples, part)
			return err
		},
	}
	fs := c.Flags()
	fs.StringVarP(&source, "data", "d", "", "data set: a folder of idx files, FILE.npz, digits, or digits:train=N,test=N,seed=N")
	fs.StringVar(&normalize, "normalize", "auto", "of the samples, as in training: auto, scale, none, or MEAN,STD")
	fs.IntVarP(&config.Batch, "batch", "b", 0, "samples at a time (default 512, or what the model fixes)")
	fs.StringVar(&config.Logits, "logits", "", "output of class scores (default: the first of type float [N, classes])")
	fs.IntVar(&config.Threads, "threads", 0, "number of threads (default: one a CPU)")
	fs.BoolVar(&asJSON, "json", false, "report as JSON")
	return c
}
