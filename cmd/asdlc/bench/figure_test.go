package bench

import (
	"bytes"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

func figureResults() []*Result {
	row := func(model string, batch int64, method string, every int, throughput, memory float64) *Result {
		r := &Result{Cell: Cell{model, batch, method, every}, Step: 1e-3, Memory: memory}
		r.Throughput.Median = throughput
		return r
	}
	failed := &Result{Cell: Cell{"dir/net.onnx", 128, "kfra", 10}, Error: "kfra <cannot> do it"}
	return []*Result{
		row("mlp", 32, "sgd", 0, 1, 1), row("mlp", 32, "kfac", 10, 0.5, 2), row("mlp", 32, "mine.yaml", 10, 0.7, 1.5),
		row("dir/net.onnx", 128, "sgd", 0, 1, 1), row("dir/net.onnx", 128, "kfac", 1, 0.25, 3), failed,
	}
}

func TestFigure(t *testing.T) {
	files := map[string][]byte{}
	for _, format := range Formats() {
		var a, b bytes.Buffer
		for _, w := range []*bytes.Buffer{&a, &b} {
			if err := Figure(w, format, figureResults()); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: the same results make other bytes", format)
		}
		files[format] = a.Bytes()
	}
	picture, err := png.Decode(bytes.NewReader(files[".png"]))
	if err != nil || picture.Bounds().Dx() < 500 || picture.Bounds().Dy() < 500 {
		t.Errorf("png: %v, %v", picture, err)
	}
	for _, want := range []string{">mlp<", ">net<", ">kfac<", ">mine<", ">kfra<", ">batch 32, T = 10<", ">batch 128, T = 1<", "throughput / SGD", "memory / SGD"} {
		if !strings.Contains(string(files[".svg"]), want) {
			t.Errorf("svg: %s is missing", want)
		}
	}
	page := string(files[".html"])
	if strings.Count(page, "<svg") != 1 || strings.Contains(page, "<?xml") || !strings.Contains(page, "kfra &lt;cannot&gt; do it") {
		t.Errorf("html:\n%.2000s", page)
	}
	if err := Figure(&bytes.Buffer{}, ".gif", nil); err == nil {
		t.Error("an unknown format is accepted")
	}
}

// TestFigureBars compares the heights in the plots with the results.
func TestFigureBars(t *testing.T) {
	f, err := newFigure(figureResults())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.methods, " "); got != "kfac mine.yaml kfra" {
		t.Errorf("methods %s", got)
	}
	for i, want := range []float64{1, 1, 2, 3} { // the largest of each panel, with the line of SGD
		if got := f.panels[i/2][i%2].Y.Max; got < want || got > 1.2*want {
			t.Errorf("panel %d reaches to %g, want a little more than %g", i, got, want)
		}
	}
}

// TestFigureColors has as many batch sizes and intervals as a large bench: no two bars look alike.
func TestFigureColors(t *testing.T) {
	f := &figure{}
	for _, batch := range []int64{8, 32, 128, 512} {
		for _, every := range []int{1, 3, 10, 30} {
			f.keys = append(f.keys, barKey{batch, every})
		}
	}
	seen := map[color.Color]barKey{}
	for _, k := range f.keys {
		c := f.color(k)
		if other, ok := seen[c]; ok || c == (color.RGBA{255, 255, 255, 255}) {
			t.Errorf("%v is drawn in %v, as %v", k, c, other)
		}
		seen[c] = k
	}
}

func TestFigureOfSGDAlone(t *testing.T) {
	for _, format := range Formats() {
		if err := Figure(&bytes.Buffer{}, format, figureResults()[:1]); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}
