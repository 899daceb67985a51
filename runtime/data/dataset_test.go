package data_test

import (
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/asdlc/asdlc/runtime/data"
)

// npzSplit opens a data set made of the given arrays.
func npzSplit(t *testing.T, arrays map[string]*data.Array) (*data.Split, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "set.npz")
	if err := data.WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
	split, err := data.OpenNPZ(path)
	return split, path, err
}

// count gives 0, 1, … as any type.
func count[T data.Number](n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = T(i)
	}
	return out
}

func byteImages(n int, sample ...int) *data.Array {
	size := 1
	for _, d := range sample {
		size *= d
	}
	return &data.Array{Shape: append([]int{n}, sample...), Data: count[uint8](n * size)}
}

func classes(labels ...int64) *data.Array {
	return &data.Array{Shape: []int{len(labels)}, Data: labels}
}

func TestOpenNPZ(t *testing.T) {
	split, _, err := npzSplit(t, map[string]*data.Array{"x": byteImages(3, 2, 2), "y": classes(0, 2, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if split.Test != nil || split.Train.Len() != 3 || split.Train.SampleSize() != 4 || split.Train.Classes() != 3 || len(split.Sets()) != 1 {
		t.Errorf("x and y give %+v", split.Train)
	}
	column := &data.Array{Shape: []int{2, 1}, Data: []uint8{1, 0}}
	split, _, err = npzSplit(t, map[string]*data.Array{
		"x_train": byteImages(3, 4), "y_train": classes(0, 2, 1), "x_test": byteImages(2, 4), "y_test": column,
	})
	if err != nil {
		t.Fatal(err)
	}
	if split.Train.Len() != 3 || split.Test.Len() != 2 || len(split.Sets()) != 2 {
		t.Errorf("four arrays give %d and %d samples", split.Train.Len(), split.Test.Len())
	}
}

func TestOpenNPZBad(t *testing.T) {
	floats := func(v ...float32) *data.Array { return &data.Array{Shape: []int{len(v), 1}, Data: v} }
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		name   string
		arrays map[string]*data.Array
		parts  []string
	}{
		{"nothing", map[string]*data.Array{"a": classes(1)}, []string{"x_train", "y_train"}},
		{"no labels", map[string]*data.Array{"x": byteImages(3, 2)}, []string{"no arrays x and y"}},
		{"no test labels", map[string]*data.Array{"x_train": byteImages(1, 1), "y_train": classes(0), "x_test": byteImages(1, 1)}, []string{"x_test and y_test"}},
		{"counts", map[string]*data.Array{"x": byteImages(3, 2), "y": classes(0, 1)}, []string{"2 labels for the 3 samples", "(x)", "(y)"}},
		{"rank", map[string]*data.Array{"x": byteImages(3), "y": classes(0, 1, 2)}, []string{"want [N, ...]"}},
		{"no samples", map[string]*data.Array{"x": byteImages(0, 2), "y": classes()}, []string{"no data"}},
		{"empty samples", map[string]*data.Array{"x": byteImages(2, 0), "y": classes(0, 1)}, []string{"no data"}},
		{"float labels", map[string]*data.Array{"x": byteImages(2, 1), "y": {Shape: []int{2}, Data: []float32{0, 1}}}, []string{"want integers"}},
		{"one-hot labels", map[string]*data.Array{"x": byteImages(2, 1), "y": {Shape: []int{2, 2}, Data: []int64{0, 1, 1, 0}}}, []string{"want integers of shape [N]"}},
		{"scalar label", map[string]*data.Array{"x": byteImages(1, 1), "y": {Data: []int64{0}}}, []string{"want integers of shape [N]"}},
		{"negative label", map[string]*data.Array{"x": byteImages(2, 1), "y": classes(0, -1)}, []string{"label -1 of sample 1"}},
		{"label too large", map[string]*data.Array{"x": byteImages(1, 1), "y": {Shape: []int{1}, Data: []uint64{1 << 63}}}, []string{"out of range"}},
		{"NaN", map[string]*data.Array{"x": floats(1, nan), "y": classes(0, 1)}, []string{"NaN in sample 1"}},
		{"infinite", map[string]*data.Array{"x": floats(inf, 1), "y": classes(0, 1)}, []string{"-Inf in sample 0"}},
		{"float64 overflow", map[string]*data.Array{"x": {Shape: []int{1, 1}, Data: []float64{1e300}}, "y": classes(0)}, []string{"+Inf in sample 0"}},
		{"shapes differ", map[string]*data.Array{"x_train": byteImages(1, 4), "y_train": classes(0), "x_test": byteImages(1, 2, 2), "y_test": classes(0)}, []string{"[4]", "[2 2]"}},
		{"types differ", map[string]*data.Array{"x_train": byteImages(1, 1), "y_train": classes(0), "x_test": floats(1), "y_test": classes(0)}, []string{"uint8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			split, path, err := npzSplit(t, c.arrays)
			if err == nil {
				t.Fatalf("opened as %+v", split)
			}
			wantFileError(t, err, path, c.parts...)
		})
	}
}

func TestCheckLabels(t *testing.T) {
	split, path, err := npzSplit(t, map[string]*data.Array{
		"x_train": byteImages(2, 1), "y_train": classes(0, 1), "x_test": byteImages(2, 1), "y_test": classes(0, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := split.CheckLabels(3); err != nil {
		t.Error(err)
	}
	wantFileError(t, split.CheckLabels(2), path, "y_test", "label 2 of sample 1", "2 classes")
}

func TestBatchNormalised(t *testing.T) {
	values := []float64{0, 128, 255, 51}
	bytes := &data.Array{Shape: []int{2, 2}, Data: []uint8{0, 128, 255, 51}}
	floats := &data.Array{Shape: []int{2, 2}, Data: []float64{0, 128, 255, 51}}
	for _, c := range []struct {
		how  string
		x    *data.Array
		norm data.Norm
	}{
		{"none", bytes, data.Norm{Scale: 1, Std: 1}},
		{"scale", bytes, data.Norm{Scale: 1.0 / 255, Std: 1}},
		{"0.1307, 0.3081", bytes, data.Norm{Scale: 1.0 / 255, Mean: 0.1307, Std: 0.3081}},
		{"auto", bytes, data.Norm{Scale: 1.0 / 255, Mean: 0.4255, Std: 0.3768}},
		{"scale", floats, data.Norm{Scale: 1, Std: 1}},
		{"auto", floats, data.Norm{Scale: 1, Mean: 108.5, Std: 96.07}},
	} {
		split, _, err := npzSplit(t, map[string]*data.Array{"x": c.x, "y": classes(4, 7)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // measuring again must not start from the last normalisation
			norm, err := split.Normalize(c.how)
			if err != nil || norm != c.norm || split.Train.Norm() != c.norm {
				t.Errorf("%s of %s: %+v, %v; want %+v", c.how, c.x.Elem(), norm, err, c.norm)
			}
		}
		images, labels := make([]float32, 6), make([]int64, 3)
		split.Train.Batch(images, labels, []int{1, 0, 1})
		for k, i := range []int{2, 3, 0, 1, 2, 3} {
			want := (values[i]*c.norm.Scale - c.norm.Mean) / c.norm.Std
			if math.Abs(float64(images[k])-want) > 1e-6*(1+math.Abs(want)) { // one float32 rounding
				t.Errorf("%s of %s: value %d is %v, want %v", c.how, c.x.Elem(), k, images[k], want)
			}
		}
		if !reflect.DeepEqual(labels, []int64{7, 4, 7}) {
			t.Errorf("labels %v", labels)
		}
	}
}

func TestNormalizeConstantAndBad(t *testing.T) {
	split, _, err := npzSplit(t, map[string]*data.Array{"x": {Shape: []int{2, 1}, Data: []float32{3, 3}}, "y": classes(0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if norm, err := split.Normalize("auto"); err != nil || norm != (data.Norm{Scale: 1, Mean: 3, Std: 1}) {
		t.Errorf("constant data: %+v, %v", norm, err)
	}
	for _, how := range []string{"", "mnist", "1", "1,", "1,0", "1,-1", "NaN,1", "0,Inf", "1,2,3"} {
		if norm, err := split.Normalize(how); err == nil {
			t.Errorf("%q: %+v", how, norm)
		}
	}
}

func TestFitInput(t *testing.T) {
	for _, c := range []struct {
		sample, input, want []int // want nil: refused
	}{
		{[]int{28, 28}, []int{-1, 784}, []int{784}},
		{[]int{28, 28}, []int{512, 1, 28, 28}, []int{1, 28, 28}},
		{[]int{28, 28}, []int{-1, 28, 28, 1}, []int{28, 28, 1}},
		{[]int{28, 28}, []int{-1, -1}, []int{784}},
		{[]int{28, 28}, []int{-1, -1, 28, 28}, []int{1, 28, 28}},
		{[]int{28, 28}, []int{-1, -1, -1}, []int{28, 28}},
		{[]int{784}, []int{-1, 1, 28, 28}, []int{1, 28, 28}},
		{[]int{3, 4, 4}, []int{-1, 3, 4, 4}, []int{3, 4, 4}},
		{[]int{3, 4, 4}, []int{-1, 3, -1, -1}, []int{3, 4, 4}},
		{[]int{3, 4, 4}, []int{-1, 48}, []int{48}},
		{[]int{4, 4, 3}, []int{-1, 3, 4, 4}, nil},
		{[]int{4, 4, 3}, []int{-1, 3, -1, -1}, nil},
		{[]int{28, 28}, []int{-1, 783}, nil},
		{[]int{28, 28}, []int{-1, 3, -1}, nil},
		{[]int{28, 28}, []int{-1, -1, -1, -1}, nil},
		{[]int{28, 28}, []int{-1}, nil},
		{[]int{28, 28}, []int{-1, 0, -1}, nil},
	} {
		split, _, err := npzSplit(t, map[string]*data.Array{"x": byteImages(1, c.sample...), "y": classes(0)})
		if err != nil {
			t.Fatal(err)
		}
		err = split.FitInput(c.input)
		if c.want == nil {
			if err == nil || !reflect.DeepEqual(split.Train.Shape(), c.sample) {
				t.Errorf("%v into %v: shape %v, error %v", c.sample, c.input, split.Train.Shape(), err)
			}
		} else if err != nil || !reflect.DeepEqual(split.Train.Shape(), c.want) {
			t.Errorf("%v into %v: shape %v, error %v; want %v", c.sample, c.input, split.Train.Shape(), err, c.want)
		}
	}
}
