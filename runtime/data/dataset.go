package data

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Dataset holds labelled samples. Bytes stay bytes until a batch is dealt; other element types are held as float32.
type Dataset struct {
	source string // the file of the labels, for messages
	bytes  []uint8
	floats []float32 // used when bytes is nil
	labels []int64
	shape  []int // of one sample
	size   int   // elements of one sample

	norm  Norm
	table [256]float32 // the normalised value of each byte
}

// Split is a training set and, where the source has one, a test set (else nil).
type Split struct {
	Train, Test *Dataset
}

// Norm is an affine map of sample values: x becomes (Scale·x − Mean)/Std.
type Norm struct {
	Scale, Mean, Std float64
}

// newDataset pairs samples x [N, ...] with class labels y, integers of shape [N] or [N,1]. xName and yName are files or
// arrays, for messages. The labels must be in [0, 2³¹-1) and the samples finite.
func newDataset(xName string, x *Array, yName string, y *Array) (*Dataset, error) {
	if len(x.Shape) < 2 {
		return nil, &FileError{Path: xName, Problem: fmt.Sprintf("samples have shape %v, want [N, ...]", x.Shape), Cure: "store one sample per row"}
	}
	n := x.Shape[0]
	flat := len(y.Shape) == 1 || len(y.Shape) == 2 && y.Shape[1] == 1
	switch e := y.Elem(); {
	case !flat || e == Bool || e == Float16 || e == Float32 || e == Float64:
		return nil, &FileError{Path: yName, Problem: fmt.Sprintf("labels are %s%v, want integers of shape [N]", e, y.Shape), Cure: "store the class of each sample as an integer"}
	case y.Shape[0] != n:
		return nil, &FileError{Path: yName, Problem: fmt.Sprintf("%d labels for the %d samples of %s", y.Shape[0], n, xName), Cure: "take both from the same data set"}
	case x.Len() == 0:
		return nil, &FileError{Path: xName, Problem: fmt.Sprintf("no data: shape %v", x.Shape), Cure: "give at least one sample"}
	}
	labels, err := As[int64](y)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(labels, func(c int64) bool { return c < 0 || c >= math.MaxInt32 }); i >= 0 {
		return nil, &FileError{Path: yName, Problem: fmt.Sprintf("label %d of sample %d is out of range", labels[i], i), Cure: "number the classes from 0"}
	}

	d := &Dataset{source: yName, labels: labels, shape: slices.Clone(x.Shape[1:]), size: x.Len() / n}
	scale := 1.0
	if raw, ok := x.Data.([]uint8); ok {
		d.bytes, scale = raw, 1.0/255
	} else if d.floats, err = As[float32](x); err != nil {
		return nil, err
	}
	for i, v := range d.floats {
		if v-v != 0 { // NaN or infinite
			return nil, &FileError{Path: xName, Problem: fmt.Sprintf("value %v in sample %d", v, i/d.size), Cure: "remove samples that are not finite in float32"}
		}
	}
	return d, d.SetNorm(Norm{Scale: scale, Std: 1})
}

// Len is the number of samples.
func (d *Dataset) Len() int { return len(d.labels) }

// Shape is the shape of one sample, as the data have it or as [Dataset.FitInput] has made it.
func (d *Dataset) Shape() []int { return slices.Clone(d.shape) }

// SampleSize is the number of elements of one sample.
func (d *Dataset) SampleSize() int { return d.size }

// Classes is the largest label plus one.
func (d *Dataset) Classes() int { return int(slices.Max(d.labels)) + 1 }

// CheckLabels reports the first label that a model of so many classes cannot predict.
func (d *Dataset) CheckLabels(classes int) error {
	for i, c := range d.labels {
		if c >= int64(classes) {
			return &FileError{
				Path:    d.source,
				Problem: fmt.Sprintf("label %d of sample %d is out of range: the model has %d classes", c, i, classes),
				Cure:    "use a model with more outputs, or other data",
			}
		}
	}
	return nil
}

// FitInput gives the samples the shape that a model's input of shape [batch, ...] asks for; a negative dimension is any.
// It adds, drops or merges dimensions, as from [28 28] to [784] or [1 28 28], and never moves data: channels-last images
// do not fit a channels-first input.
func (d *Dataset) FitInput(input []int) error {
	mismatch := func(why string) error {
		return fmt.Errorf("data: samples of shape %v do not fit the model's input %v: %s; use data or a model of the other's shape", d.shape, input, why)
	}
	if len(input) < 2 {
		return mismatch("it has no dimension besides the batch")
	}
	want := slices.Clone(input[1:])
	var free []int
	known := 1
	for i, dim := range want {
		if dim < 0 {
			free = append(free, i)
		} else {
			known *= dim
		}
	}
	switch {
	case len(free) == 1 && known > 0:
		want[free[0]] = d.size / known
	case len(free) > 1 && len(want) == len(d.shape):
		for _, i := range free {
			want[i] = d.shape[i]
		}
	case len(free) > 1:
		return mismatch("several of its dimensions are free and the ranks differ")
	}
	if n, err := product(want); err != nil || n != d.size {
		return mismatch("the sizes differ")
	}
	from, to := withoutOnes(d.shape), withoutOnes(want)
	if len(from) > 1 && len(to) > 1 && !slices.Equal(from, to) {
		return mismatch("the dimensions are in another order")
	}
	d.shape = want
	return nil
}

func withoutOnes(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// Norm is the map applied to samples; at first bytes are scaled by 1/255 and other types left as they are.
func (d *Dataset) Norm() Norm { return d.norm }

// SetNorm sets the map applied to samples. Its numbers must be finite and Std positive.
func (d *Dataset) SetNorm(n Norm) error {
	for _, v := range []float64{n.Scale, n.Mean, n.Std} {
		if v-v != 0 {
			return fmt.Errorf("data: normalisation %+v is not finite; give a finite mean and deviation", n)
		}
	}
	if n.Std <= 0 {
		return fmt.Errorf("data: normalisation has standard deviation %g; give a positive one", n.Std)
	}
	d.norm = n
	for b := range d.table {
		d.table[b] = n.apply(float64(b))
	}
	return nil
}

func (n Norm) apply(v float64) float32 { return float32((float64(v*n.Scale) - n.Mean) / n.Std) }

// Measure returns the data set's own normalisation: its present scale with the mean and standard deviation of all scaled
// values, rounded to four significant digits so that a printed value reproduces it (MNIST: 0.1307 and 0.3081). Constant
// data get deviation 1.
func (d *Dataset) Measure() Norm {
	var mean, variance float64
	count := float64(len(d.bytes) + len(d.floats))
	if d.bytes != nil {
		var histogram [256]int
		for _, b := range d.bytes {
			histogram[b]++
		}
		for b, n := range histogram {
			mean += float64(n) * float64(b) / count
		}
		for b, n := range histogram {
			variance += float64(n) * (float64(b) - mean) * (float64(b) - mean) / count
		}
	} else {
		for _, v := range d.floats {
			mean += float64(v) / count
		}
		for _, v := range d.floats {
			variance += (float64(v) - mean) * (float64(v) - mean) / count
		}
	}
	n := Norm{Scale: d.norm.Scale, Mean: round4(mean * d.norm.Scale), Std: round4(math.Sqrt(variance) * math.Abs(d.norm.Scale))}
	if n.Std == 0 {
		n.Std = 1
	}
	return n
}

func round4(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 3, 64), 64)
	if err != nil {
		panic("BUG: data: " + err.Error())
	}
	return r
}

// Batch writes the samples idx, normalised, to images and their classes to labels. images must hold
// len(idx)·SampleSize() values and labels len(idx).
func (d *Dataset) Batch(images []float32, labels []int64, idx []int) {
	if len(images) != len(idx)*d.size || len(labels) != len(idx) {
		panic(fmt.Sprintf("BUG: data: batch of %d samples of %d values into %d values and %d labels", len(idx), d.size, len(images), len(labels)))
	}
	for k, i := range idx {
		labels[k] = d.labels[i]
		dst := images[k*d.size : (k+1)*d.size]
		if d.bytes != nil {
			for j, b := range d.bytes[i*d.size : (i+1)*d.size] {
				dst[j] = d.table[b]
			}
			continue
		}
		for j, v := range d.floats[i*d.size : (i+1)*d.size] {
			dst[j] = d.norm.apply(float64(v))
		}
	}
}

// Sets lists the sets that are present.
func (s *Split) Sets() []*Dataset {
	if s.Test == nil {
		return []*Dataset{s.Train}
	}
	return []*Dataset{s.Train, s.Test}
}

// Normalize sets the same normalisation on both sets and returns it:
//
//	auto       mean and deviation of the training set, measured once (the usual 0.1307 and 0.3081 for MNIST)
//	scale      bytes by 1/255, other types as they are
//	none       values as they are in the file
//	MEAN,STD   these numbers, after "scale"
func (s *Split) Normalize(how string) (Norm, error) {
	norm := Norm{Scale: 1, Std: 1}
	if s.Train.bytes != nil && how != "none" {
		norm.Scale = 1.0 / 255
	}
	switch how {
	case "none", "scale":
	case "auto":
		if err := s.Train.SetNorm(norm); err != nil {
			return norm, err
		}
		norm = s.Train.Measure()
	default:
		mean, std, _ := strings.Cut(how, ",")
		var err1, err2 error
		norm.Mean, err1 = strconv.ParseFloat(strings.TrimSpace(mean), 64)
		norm.Std, err2 = strconv.ParseFloat(strings.TrimSpace(std), 64)
		if err1 != nil || err2 != nil {
			return norm, fmt.Errorf("data: normalisation %q; use auto, scale, none or MEAN,STD", how)
		}
	}
	for _, d := range s.Sets() {
		if err := d.SetNorm(norm); err != nil {
			return norm, err
		}
	}
	return norm, nil
}

// FitInput applies [Dataset.FitInput] to both sets.
func (s *Split) FitInput(input []int) error {
	for _, d := range s.Sets() {
		if err := d.FitInput(input); err != nil {
			return err
		}
	}
	return nil
}

// CheckLabels applies [Dataset.CheckLabels] to both sets.
func (s *Split) CheckLabels(classes int) error {
	for _, d := range s.Sets() {
		if err := d.CheckLabels(classes); err != nil {
			return err
		}
	}
	return nil
}
