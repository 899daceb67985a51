package data_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

const digitPixels = data.DigitSide * data.DigitSide

// pixels gives all values of a data set as they are stored.
func pixels(t *testing.T, d *data.Dataset) ([]float32, []int64) {
	t.Helper()
	if err := d.SetNorm(data.Norm{Scale: 1, Std: 1}); err != nil {
		t.Fatal(err)
	}
	images, labels := make([]float32, d.Len()*d.SampleSize()), make([]int64, d.Len())
	d.Batch(images, labels, count[int](d.Len()))
	return images, labels
}

// The data set is part of the demonstration's result, so a change of a single pixel must be noticed.
func TestDigitsArePinned(t *testing.T) {
	p := data.NewDigitPainter(7)
	hash := sha256.New()
	image := make([]byte, digitPixels)
	for _, part := range []data.Part{data.PartTrain, data.PartTest} {
		for i := range 200 {
			hash.Write([]byte{byte(p.Paint(image, part, i))})
			hash.Write(image)
		}
	}
	const want = "e4b50bbc5c63cfc5"
	if got := hex.EncodeToString(hash.Sum(nil))[:16]; got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

func TestDigitsDependOnSeedPartAndIndex(t *testing.T) {
	split, err := data.Digits(data.DigitsConfig{Seed: 3, Train: 60, Test: 60})
	if err != nil {
		t.Fatal(err)
	}
	p := data.NewDigitPainter(3)
	seen := map[string]bool{}
	image := make([]byte, digitPixels)
	for part, d := range map[data.Part]*data.Dataset{data.PartTrain: split.Train, data.PartTest: split.Test} {
		images, labels := pixels(t, d)
		for i := 59; i >= 0; i-- { // alone and in another order
			label := p.Paint(image, part, i)
			if label != labels[i] {
				t.Fatalf("image %d is a %d alone and a %d in the set", i, label, labels[i])
			}
			for j, v := range image {
				if images[i*digitPixels+j] != float32(v) {
					t.Fatalf("image %d differs from the one in the set", i)
				}
			}
			seen[string(image)] = true
		}
	}
	if len(seen) != 120 {
		t.Errorf("%d different images among 120", len(seen))
	}
	other := make([]byte, digitPixels)
	p.Paint(image, data.PartTrain, 0)
	data.NewDigitPainter(4).Paint(other, data.PartTrain, 0)
	if bytes.Equal(image, other) {
		t.Error("another seed gives the same image")
	}
}

func TestDigitsAreBalanced(t *testing.T) {
	split, err := data.Digits(data.DigitsConfig{Train: 1000, Test: 25})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range split.Sets() {
		_, labels := pixels(t, d)
		var per [10]int
		for _, c := range labels {
			per[c]++
		}
		if slices.Max(per[:])-slices.Min(per[:]) > min(1, d.Len()%10) {
			t.Errorf("%d images have classes %v", d.Len(), per)
		}
		if slices.Equal(labels[:10], labels[10:20]) {
			t.Error("the classes come in a fixed order")
		}
	}
}

// A classifier by the nearest mean image shows that the task can be learned and that it is not trivial.
func TestDigitsAreNeitherTrivialNorHopeless(t *testing.T) {
	split, err := data.Digits(data.DigitsConfig{Train: 10000, Test: 2000})
	if err != nil {
		t.Fatal(err)
	}
	images, labels := pixels(t, split.Train)
	var mean [10][digitPixels]float32
	for i, c := range labels {
		for j := range digitPixels {
			mean[c][j] += images[i*digitPixels+j] / 1000
		}
	}
	images, labels = pixels(t, split.Test)
	right := 0
	for i, c := range labels {
		best, bestClass := float32(1e30), -1
		for k := range mean {
			distance := float32(0)
			for j, v := range images[i*digitPixels : (i+1)*digitPixels] {
				distance += (v - mean[k][j]) * (v - mean[k][j])
			}
			if distance < best {
				best, bestClass = distance, k
			}
		}
		if int64(bestClass) == c {
			right++
		}
	}
	if accuracy := float64(right) / float64(len(labels)); accuracy < 0.4 || accuracy > 0.9 {
		t.Errorf("nearest mean image classifies %.3f of the test set, want clearly more than 0.1 and less than 0.9", accuracy)
	}
}

func TestDigitsConfig(t *testing.T) {
	for _, config := range []data.DigitsConfig{{}, {Train: -1}, {Train: 1, Test: -1}, {Train: 1 << 30}} {
		if _, err := data.Digits(config); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
	split, err := data.Digits(data.DigitsConfig{Train: 3})
	if err != nil || split.Test != nil || split.Train.Len() != 3 {
		t.Errorf("without test images: %+v, %v", split, err)
	}
}

func BenchmarkDigits(b *testing.B) {
	for b.Loop() {
		if _, err := data.Digits(data.DigitsConfig{Train: 10000, Test: 2000}); err != nil {
			b.Fatal(err)
		}
	}
}
