package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
)

// TestPeerRecords: what asdlc is measured by beside ASDL leaves normalisation layers and vectors alone, as ASDL is told to,
// and preconditions every other layer.
func TestPeerRecords(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "peers", "records", "*.yaml"))
	if err != nil || len(files) != 7 {
		t.Fatalf("records %q, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), filepath.Base(file))
		if err := os.WriteFile(copied, bytes.ReplaceAll(text, []byte("BATCH"), []byte("4")), 0o644); err != nil {
			t.Fatal(err)
		}
		rec, err := readRecord(copied, "paper")
		if err != nil {
			t.Fatal(err)
		}
		if kept := rec.Accumulate.Kind == "window"; kept == (rec.Preset == "asdl") || rec.Update.Momentum != 0.9 {
			t.Errorf("%s: preset %s, momentum %g", rec.Name, rec.Preset, rec.Update.Momentum)
		}
		for _, name := range []string{"resnet18", "vit-tiny"} {
			m, err := models.Build(name, tiny[name])
			if err != nil {
				t.Fatal(err)
			}
			r, err := passes.Instrument(m, rec, pass.Options{Batch: 4}, "")
			if err != nil {
				t.Fatalf("%s on %s: %v", rec.Name, name, err)
			}
			blocks, err := passes.StateBlocks(r)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range blocks {
				covered := b.Kind == graph.LayerLinear || b.Kind == graph.LayerConv
				if covered && b.Fallback || !covered && b.Fallback && b.Treatment != "grad" || (b.Kind == graph.LayerBatchNorm || b.Kind == graph.LayerLayerNorm) && !b.Fallback {
					t.Errorf("%s on %s: layer %s (%s): fall-back %v %s %s", rec.Name, name, b.Layer, b.Kind, b.Fallback, b.Treatment, b.Reason)
				}
			}
		}
	}
}
