package models

import (
	"fmt"
	"slices"
	"strings"
)

// Options choose the size of a network. A zero field is the network's default; one that a network has no use for is an
// error (see Model.Takes).
type Options struct {
	Widths   []int  // mlp: features of the input, of each hidden layer and of the output
	ImageNet bool   // as published for ImageNet: images of 224 x 224, 1000 classes, the larger stem or patch
	Seed     uint64 // of the initial values: the same seed gives the same bytes

	Classes int // size of the output
	Width   int // channels of the first stage, or features of a token
	Depth   int // number of blocks; of layers for wideresnet
	Heads   int // of the attention
	Widen   int // factor of the channels
	Image   int // height and width of the images
	Patch   int // height and width of the patches
	Vocab   int // number of tokens
	Context int // largest number of tokens in a row
}

// Option is an integer field of Options by its name on a command line.
type Option struct {
	Name, Doc string
	At        func(*Options) *int
}

var integers = []Option{
	{"classes", "size of the output", func(o *Options) *int { return &o.Classes }},
	{"width", "channels of the first stage, or features of a token", func(o *Options) *int { return &o.Width }},
	{"depth", "number of blocks, or of layers", func(o *Options) *int { return &o.Depth }},
	{"heads", "number of attention heads", func(o *Options) *int { return &o.Heads }},
	{"widen", "factor of the channels", func(o *Options) *int { return &o.Widen }},
	{"image", "height and width of the images", func(o *Options) *int { return &o.Image }},
	{"patch", "height and width of the patches", func(o *Options) *int { return &o.Patch }},
	{"vocab", "number of tokens that there are", func(o *Options) *int { return &o.Vocab }},
	{"context", "largest number of tokens in a row", func(o *Options) *int { return &o.Context }},
}

// Integers lists the integer fields.
func Integers() []Option { return slices.Clone(integers) }

// imageNet is what the option imagenet stands for, in fields that a network takes.
var imageNet = Options{Classes: 1000, Image: 224, Patch: 16}

// Takes lists the options that a network uses besides the seed.
func (m Model) Takes() []string {
	var names []string
	if m.Defaults.Widths != nil {
		names = append(names, "widths")
	}
	for _, f := range integers {
		if *f.At(&m.Defaults) != 0 {
			names = append(names, f.Name)
		}
	}
	if m.ImageNet != 0 {
		names = append(names, "imagenet")
	}
	return names
}

// OptionError is an option that a model cannot be built with; Option names it, with its value.
type OptionError struct{ Model, Option, Want string }

// Error implements error.
func (e *OptionError) Error() string {
	return fmt.Sprintf("model %s: option %s: want %s", e.Model, e.Option, e.Want)
}

// Limits of sizes, so that a slip of the hand is an error and not a file that fills the disk.
const (
	maxSize       = 1 << 20
	maxDepth      = 1 << 10
	maxParameters = 1 << 30
)

// Resolve fills in defaults, and refuses options that the network does not take or that make no network.
func (m Model) Resolve(o Options) (Options, error) {
	if err := m.refuse(o); err != nil {
		return o, err
	}
	if o.Widths == nil && m.Defaults.Widths != nil {
		o.Widths = slices.Clone(m.Defaults.Widths)
		if o.Classes != 0 {
			o.Widths[len(o.Widths)-1] = o.Classes
		}
	}
	for _, f := range integers {
		v, def := f.At(&o), *f.At(&m.Defaults)
		if published := *f.At(&imageNet); o.ImageNet && published != 0 && def != 0 {
			def = published
		}
		if *v == 0 {
			*v = def
		}
	}
	for _, r := range relations {
		if r.breaks(o) {
			v := *integers[slices.IndexFunc(integers, func(f Option) bool { return f.Name == r.option })].At(&o)
			return o, &OptionError{m.Name, fmt.Sprintf("%s %d", r.option, v), r.want(o)}
		}
	}
	return o, nil
}

// relations are what options must be to each other.
var relations = []struct {
	option string
	breaks func(Options) bool
	want   func(Options) string
}{
	{
		"heads", func(o Options) bool { return o.Heads != 0 && o.Width%o.Heads != 0 },
		func(o Options) string { return fmt.Sprintf("a divisor of the width %d", o.Width) },
	},
	{
		"patch", func(o Options) bool { return o.Patch != 0 && o.Image%o.Patch != 0 },
		func(o Options) string { return fmt.Sprintf("a divisor of the size %d of the images", o.Image) },
	},
	{
		"depth", func(o Options) bool { return o.Widen != 0 && (o.Depth < 10 || o.Depth%6 != 4) },
		func(Options) string { return "10, 16, 22, 28, ...: four more than a multiple of six" },
	},
	{
		"width", func(o Options) bool { return o.Patch != 0 && o.Heads == 0 && o.Width%2 != 0 },
		func(Options) string { return "an even number: an MLP over the patches is half as wide" },
	},
}

// refuse finds options that the network does not take, or out of range.
func (m Model) refuse(o Options) error {
	given := map[string]bool{"widths": o.Widths != nil, "imagenet": o.ImageNet}
	for _, f := range integers {
		v, high := *f.At(&o), maxSize
		if f.Name == "depth" {
			high = maxDepth
		}
		if v < 0 || v > high {
			return &OptionError{m.Name, fmt.Sprintf("%s %d", f.Name, v), fmt.Sprintf("1 to %d", high)}
		}
		given[f.Name] = v != 0
	}
	takes := m.Takes()
	for _, name := range append([]string{"widths", "imagenet"}, names(integers)...) {
		if given[name] && !slices.Contains(takes, name) {
			return &OptionError{m.Name, name, "it left out; this model takes " + strings.Join(takes, ", ")}
		}
	}
	if o.Widths == nil {
		return nil
	}
	if len(o.Widths) < 2 {
		return &OptionError{m.Name, fmt.Sprintf("widths %v", o.Widths), "at least those of input and output"}
	}
	if o.Classes != 0 {
		return &OptionError{m.Name, "widths and classes", "one of them: the last width is the number of classes"}
	}
	for _, w := range o.Widths {
		if w < 1 || w > maxSize {
			return &OptionError{m.Name, fmt.Sprintf("width %d", w), fmt.Sprintf("1 to %d", maxSize)}
		}
	}
	return nil
}

func names(fields []Option) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.Name)
	}
	return out
}
