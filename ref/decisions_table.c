/* The table of decisions. A field's order: what `llava-ref explain` prints. Evidence letters in
 * `ports`: R reported in a thread, F fixed, C read in the port's source, X measured on a build; the
 * numbers are those of the catalogue of port bugs. */
#include "decisions.h"

static const llava_decision decisions[LLAVA_DECISION_COUNT] = {
    [LLAVA_IMAGE_CHANNEL_ORDER] =
        {
            .name = "image.channel_order",
            .values = {"rgb", "bgr", NULL},
            .acts = (const char *const[]){"image.rgb", "image.padded", "image.resized",
                                          "image.cropped", "pixel_values", NULL},
            .what = "The order of a pixel's three bytes. bgr: red and blue are exchanged; a port "
                    "may do so anywhere, so it is tried in front of each step, and behind the "
                    "last.",
            .source = "spec 6.3: transformers image_transforms.py, convert_to_rgb",
            .ports = "ollama: red rectangles called blue (R 16) "
                     "https://github.com/ollama/ollama/issues/12784; "
                     "vLLM's example: a BGR decoder feeds an RGB model (R 17) "
                     "https://github.com/vllm-project/vllm/issues/21053",
        },
    [LLAVA_IMAGE_GEOMETRY] =
        {
            .name = "image.geometry",
            .values = {"config", "crop", "pad", "stretch", NULL},
            .acts = (const char *const[]){"image.padded", "image.resized", "image.cropped", NULL},
            .what = "How a picture that is not square becomes square. crop: shortest edge to the "
                    "size, then the centre; pad: onto a square first, then resized; stretch: both "
                    "edges to the size, the aspect lost. The original LLaVA-1.5 pads, the "
                    "llava-hf folders crop.",
            .source = "spec 6.2, 6.4, 6.9: preprocessor_config.json (do_pad, do_resize, size, "
                      "do_center_crop); CLIPImageProcessor, LlavaImageProcessor",
            .ports = "llama.cpp: the picture was not made square at all (F 1) "
                     "https://github.com/ggml-org/llama.cpp/pull/3436; "
                     "llama.cpp: padding lost pictures that were square already (F 2) "
                     "https://github.com/ggml-org/llama.cpp/issues/4048; "
                     "llama.cpp: pads where the folder says crop (X, section 4 N); "
                     "MLC-LLM: crops instead of padding (C 7); "
                     "transformers: converted checkpoints crop where the original pads (F 8) "
                     "https://github.com/huggingface/transformers/issues/33175; "
                     "LLaVA's predict.py: never pads although its config says so (C 20)",
        },
    [LLAVA_IMAGE_PAD_COLOR] =
        {
            .name = "image.pad_color",
            .values = {"mean", "black", "white", NULL},
            .acts = (const char *const[]){"image.padded", "image.resized", NULL},
            .what = "The colour around a padded picture: int(255 * image_mean) per channel, (122, "
                    "116, 104) for CLIP. With image.pad_order=resize-first it shows in "
                    "image.resized.",
            .source = "spec 6.9: LlavaImageProcessor.pad_to_square",
            .ports = "ExecuTorch: pads with 0 (C 12)",
        },
    [LLAVA_IMAGE_PAD_ALIGN] =
        {
            .name = "image.pad_align",
            .values = {"center", "top-left", NULL},
            .acts = (const char *const[]){"image.padded", "image.resized", NULL},
            .what = "Where the picture lies on the padded square: floor((long - short) / 2) from "
                    "the edge. top-left: in the corner. With image.pad_order=resize-first it "
                    "shows in image.resized.",
            .source = "spec 6.9: LlavaImageProcessor.pad_to_square",
            .ports = "llama.cpp: pasted the picture in the top-left corner (C 3); "
                     "transformers LLaVA-NeXT: an odd difference lost one row (F 9) "
                     "https://github.com/huggingface/transformers/pull/37819",
        },
    [LLAVA_IMAGE_PAD_ORDER] =
        {
            .name = "image.pad_order",
            .values = {"pad-first", "resize-first", NULL},
            .acts = (const char *const[]){"image.padded", "image.resized", NULL},
            .what = "Pads the picture and resizes the square. resize-first: the picture is "
                    "resized to fit and padded then, so that rows at the seam differ; both steps "
                    "are in image.resized.",
            .source = "spec 6.9: LlavaImageProcessor.preprocess",
            .ports = "llama.cpp: resizes first, pads afterwards (X 22, section 4 P2 and N)",
        },
    [LLAVA_IMAGE_RESIZE_FILTER] =
        {
            .name = "image.resize_filter",
            .values = {"config", "bicubic", "bilinear", "nearest", "lanczos", "box", NULL},
            .acts = (const char *const[]){"image.resized", NULL},
            .what = "The kernel of the resize, by its Pillow name. bilinear and nearest are what "
                    "ports fall back to.",
            .source = "spec 6.2, 6.5: preprocessor_config.json, resample (3: bicubic); Pillow "
                      "Resample.c",
            .ports = "llama.cpp: bilinear where the processor says bicubic (F 4) "
                     "https://github.com/ggml-org/llama.cpp/pull/27594; "
                     "clip.cpp: linear (R 5) https://github.com/monatis/clip.cpp/issues/74; "
                     "MLC-LLM: linear (C 7); "
                     "MNN: the cubic flag fell through to nearest (F 14) "
                     "https://github.com/alibaba/MNN/pull/4595; "
                     "ik_llama.cpp and llama.cpp: bilinear in shared code (F 15) "
                     "https://github.com/ggml-org/llama.cpp/issues/24629",
        },
    [LLAVA_IMAGE_ANTIALIAS] =
        {
            .name = "image.antialias",
            .values = {"on", "off", NULL},
            .acts = (const char *const[]){"image.resized", NULL},
            .what = "Whether the kernel is widened by the scale when a picture shrinks. off: it "
                    "stays four pixels wide (bicubic), and the rest of the picture is never read.",
            .source = "spec 6.5: Pillow Resample.c, precompute_coeffs",
            .ports = "OpenVINO GenAI: no widening of the support (F 6) "
                     "https://github.com/openvinotoolkit/openvino.genai/pull/3172; "
                     "MLC-LLM: plain interpolation (C 7); "
                     "ExecuTorch: left out because of the export (C 12); "
                     "torchvision: tensors are resized without it by default (R 19) "
                     "https://github.com/pytorch/vision/issues/2950; "
                     "llama.cpp: a four-point kernel at any scale (X 21, section 4 P1)",
        },
    [LLAVA_IMAGE_CUBIC_A] =
        {
            .name = "image.cubic_a",
            .values = {"-0.5", "-0.75", NULL},
            .acts = (const char *const[]){"image.resized", NULL},
            .what = "The parameter of Keys' cubic: -0.5 in Pillow and in torch with antialias, "
                    "-0.75 in OpenCV and in torch without.",
            .source = "spec 6.5: Pillow Resample.c, bicubic_filter",
            .ports = "MNN: OpenCV's -0.75 (F 14) https://github.com/alibaba/MNN/pull/4595",
        },
    [LLAVA_IMAGE_RESIZE_ROUNDING] =
        {
            .name = "image.resize_rounding",
            .values = {"pillow", "torchvision", "float", "once", "opencv", NULL},
            .acts = (const char *const[]){"image.resized", "pixel_values", NULL},
            .what =
                "Where the resize rounds. pillow: weights of 22 bits and bytes after each "
                "pass; torchvision: weights of 15 bits, and rescale and normalise as one "
                "step, which together is what the backend of that name computes; float: "
                "nowhere; once: to bytes behind both passes only, as float resizers do that give "
                "bytes back (OpenCV's INTER_CUBIC where it is built with Intel's IPP). opencv: "
                "OpenCV's resize of "
                "bytes whole, INTER_CUBIC for bicubic, INTER_LINEAR for bilinear, INTER_AREA "
                "for box, INTER_NEAREST for nearest: no antialias, a = -0.75, weights of 11 "
                "bits, whatever the other decisions of the kernel say.",
            .source = "spec 6.5, 6.7, 6.8: Pillow Resample.c; torch UpSampleKernel.cpp; measured "
                      "beside OpenCV 4.5.5, 4.14.0 and 5.0.0",
            .ports = "transformers fast processors: bytes of torchvision instead of Pillow's (F "
                     "18) https://github.com/huggingface/transformers/pull/46262",
        },
    [LLAVA_IMAGE_RESIZE_GRID] =
        {
            .name = "image.resize_grid",
            .values = {"half-pixel", "corner", "align-corners", NULL},
            .acts = (const char *const[]){"image.resized", NULL},
            .what = "Which input point output pixel i of m lies on, for n input pixels: (i + 0.5) "
                    "n/m - 0.5. corner: i n/m; align-corners: i (n-1)/(m-1).",
            .source = "spec 6.5: Pillow Resample.c, precompute_coeffs",
            .ports = "llama.cpp: align-corners mapping (F 4) "
                     "https://github.com/ggml-org/llama.cpp/pull/27594; "
                     "llama.cpp: corner mapping, every second column dropped at half size (X 21, "
                     "section 4 P1)",
        },
    [LLAVA_IMAGE_SIZE_ROUNDING] =
        {
            .name = "image.size_rounding",
            .values = {"trunc", "round", "ceil", "ceil-f32", NULL},
            .acts = (const char *const[]){"image.resized", NULL},
            .what = "How the longer edge behind the resize is made whole: int(size * long / "
                    "short). round, ceil: to nearest, or up; ceil-f32: up, long * (size / short) "
                    "in float32. Acts where the shape is kept.",
            .source = "spec 6.4: transformers image_transforms.py, get_resize_output_image_size",
            .ports = "candle: ceil (C 13); "
                     "llama.cpp: a ceiling taken in float32, 29 rows for 28 (X, section 4 N)",
        },
    [LLAVA_IMAGE_CROP_ROUNDING] =
        {
            .name = "image.crop_rounding",
            .values = {"floor", "ceil", "trunc", NULL},
            .acts = (const char *const[]){"image.cropped", NULL},
            .what = "The first row and column of the centre crop where the spare pixels are odd: "
                    "floor(spare / 2). ceil: one pixel further; trunc: another one only where the "
                    "picture is smaller than the crop, as torchvision's processors pad it.",
            .source = "spec 6.6: transformers image_transforms.py, center_crop; "
                      "image_processing_backends.py, TorchvisionBackend.center_crop",
            .ports = "candle: ceil, for the crop and for the paste (C 13)",
        },
    [LLAVA_IMAGE_PASS_ORDER] =
        {
            .name = "image.pass_order",
            .values = {"pillow", "horizontal-first", NULL},
            .acts = (const char *const[]){"image.resized", NULL},
            .what = "Which axis is resized first; the bytes between the passes make it visible. "
                    "Pillow 13 goes vertically first where the height loses more than twice the "
                    "pixels that the width loses; Pillow up to 12 and most ports always go "
                    "horizontally first.",
            .source = "Pillow 13 Resample.c, ImagingResample; spec 6.5 describes Pillow 12",
            .ports = "no report known",
        },
    [LLAVA_IMAGE_ALPHA] =
        {
            .name = "image.alpha",
            .values = {"drop", "white", "black", NULL},
            .acts = (const char *const[]){"image.rgb", NULL},
            .what = "What becomes of transparency. drop: the colours as they stand, as a picture "
                    "file is loaded; white: composited on white, as transformers does with a PIL "
                    "object in memory; black: composited on black.",
            .source = "spec 6.3, 14.5: transformers image_utils.py, load_image; "
                      "image_transforms.py, convert_to_rgb",
            .ports = "no report known",
        },
    [LLAVA_IMAGE_EXIF] =
        {
            .name = "image.exif",
            .values = {"applied", "ignored", NULL},
            .acts = (const char *const[]){"image.rgb", NULL},
            .what = "The orientation that a picture file's EXIF data asks for. applied: the "
                    "picture is turned upright before anything else, as load_image does; "
                    "ignored: the rows as they are stored, so that a phone's photo lies on its "
                    "side. Sizes, crops and a Pixtral grid follow.",
            .source = "contract section 10: transformers image_utils.py, load_image "
                      "(ImageOps.exif_transpose)",
            .ports = "llama.cpp: stb_image knows no EXIF (R 114) "
                     "https://github.com/ggml-org/llama.cpp/issues/20870; "
                     "ollama: pictures seen turned (R 115) "
                     "https://github.com/ollama/ollama/issues/18418; "
                     "SGLang: three decoders, none of which turns (R 116) "
                     "https://github.com/sgl-project/sglang/issues/33464; "
                     "mistral-common: also the Pixtral grid is turned (R 117) "
                     "https://github.com/mistralai/mistral-common/issues/330",
        },
    [LLAVA_IMAGE_JPEG_UPSAMPLING] =
        {
            .name = "image.jpeg_upsampling",
            .values = {"fancy", "plain", NULL},
            .acts = (const char *const[]){"image.rgb", NULL},
            .what = "How the colours of a JPEG with subsampled chroma (4:2:0, 4:2:2) come back to "
                    "full size. fancy: libjpeg's triangle filter, as in Pillow; plain: every "
                    "sample repeated.",
            .source = "libjpeg-turbo's default (do_fancy_upsampling), which Pillow leaves alone",
            .ports = "SGLang: nvJPEG's default on the GPU repeats samples (F 118) "
                     "https://github.com/sgl-project/sglang/pull/34163; "
                     "DALI: the same, made adjustable (F) "
                     "https://github.com/NVIDIA/DALI/pull/4662",
        },
    [LLAVA_IMAGE_JPEG_DCT] =
        {
            .name = "image.jpeg_dct",
            .values = {"islow", "ifast", NULL},
            .acts = (const char *const[]){"image.rgb", NULL},
            .what = "The inverse cosine transform of a JPEG. islow: libjpeg's accurate integer "
                    "one, as in Pillow; ifast: its fast one, off by a few levels.",
            .source = "libjpeg-turbo's default (dct_method), which Pillow leaves alone",
            .ports = "TensorFlow: decode_jpeg takes the fast one unless told otherwise (F) "
                     "https://github.com/tensorflow/tensorflow/pull/5072",
        },
    [LLAVA_IMAGE_RESCALE] =
        {
            .name = "image.rescale",
            .values = {"config", "none", NULL},
            .acts = (const char *const[]){"pixel_values", NULL},
            .what = "Levels times rescale_factor, 1/255. none: levels of 0 to 255 go into the "
                    "normalisation.",
            .source = "spec 6.7: preprocessor_config.json, do_rescale, rescale_factor",
            .ports = "no report known",
        },
    [LLAVA_IMAGE_NORMALIZE] =
        {
            .name = "image.normalize",
            .values = {"config", "none", "half", "imagenet", "clip", NULL},
            .acts = (const char *const[]){"pixel_values", NULL},
            .what = "(x - mean) / std with the folder's numbers. none: left out; half: 0.5 and 0.5 "
                    "(SigLIP's); imagenet: 0.485 0.456 0.406 and 0.229 0.224 0.225; clip: CLIP's "
                    "(LLaVA's and Pixtral's) where the folder has others.",
            .source = "spec 6.2, 6.7: preprocessor_config.json, do_normalize, image_mean, "
                      "image_std",
            .ports = "no report known",
        },
    [LLAVA_TOKENS_BOS] =
        {
            .name = "tokens.bos",
            .values = {"config", "none", "every-segment", NULL},
            .acts = (const char *const[]){"input_ids", NULL},
            .what = "The token in front of a prompt, once. none: left out; every-segment: again "
                    "before the text behind each picture.",
            .source = "spec 7.2: tokenizer.json, post_processor",
            .ports = "llama.cpp: in front of every text segment (F 76) "
                     "https://github.com/ggml-org/llama.cpp/pull/3645; "
                     "candle: the first token of a segment cut off without it (C 81)",
        },
    [LLAVA_TOKENS_IMAGE_COUNT] =
        {
            .name = "tokens.image_count",
            .values = {"exact", "one-less", "one-more", "single", NULL},
            .acts = (const char *const[]){"input_ids", NULL},
            .what = "How many image tokens a picture gets: (height / patch)(width / patch) + "
                    "num_additional_image_tokens, less 1 if the strategy is `default`. one-less, "
                    "one-more: the class row counted wrongly; single: not expanded.",
            .source = "spec 6.1: LlavaProcessor",
            .ports = "transformers: 729 tokens, 728 features for towers without a class row (F "
                     "27) https://github.com/huggingface/transformers/pull/34447; "
                     "vLLM: two faults of one that cancelled each other (F 28) "
                     "https://github.com/vllm-project/vllm/pull/7153; "
                     "mlx-examples: 576 tokens meet one picture (R 62) "
                     "https://github.com/ml-explore/mlx-examples/issues/1138; "
                     "unsloth: 575 tokens with old processor configs (R 63) "
                     "https://github.com/unslothai/unsloth/issues/3783; "
                     "transformers.js: 577 tokens, only the first placeholder expanded (C 64); "
                     "LLaMA-Factory: 576 against 1 (R 65) "
                     "https://github.com/hiyouga/LlamaFactory/issues/5344",
        },
    [LLAVA_TOKENS_IMAGE_BREAKS] =
        {
            .name = "tokens.image_breaks",
            .values = {"config", "absent", "no-end", NULL},
            .acts = (const char *const[]){"input_ids", NULL},
            .what = "What stands between the rows of a Pixtral picture's image tokens: [IMG_BREAK] "
                    "behind each, [IMG_END] behind the last. absent: neither; no-end: a break "
                    "behind the last, too.",
            .source = "spec 6.11: PixtralProcessor.replace_image_token",
            .ports = "vLLM: break and end took the ids of another model's vocabulary (F 119) "
                     "https://github.com/vllm-project/vllm/pull/11393",
        },
    [LLAVA_TOKENS_PREFIX_SPACE] =
        {
            .name = "tokens.prefix_space",
            .values = {"config", "never", "every-segment", NULL},
            .acts = (const char *const[]){"input_ids", NULL},
            .what = "The space that SentencePiece, or ByteLevel, puts before a text. never: before "
                    "none; every-segment: before each text, behind an added token as well.",
            .source = "spec 7.1, 7.2: tokenizer.json, normalizer and pre_tokenizer",
            .ports = "transformers tokenizers: slow and fast ones disagree behind added tokens (R "
                     "82) https://github.com/huggingface/transformers/issues/29774; "
                     "llama.cpp: 29871 missing behind special tokens (R 83) "
                     "https://github.com/ggml-org/llama.cpp/issues/7094; "
                     "LLaVA: [29871, 32000] or [32000], by the base model (R 84) "
                     "https://github.com/haotian-liu/LLaVA/issues/1918",
        },
    [LLAVA_VISION_PATCH_ORDER] =
        {
            .name = "vision.patch_order",
            .values = {"row-major", "column-major", NULL},
            .acts = (const char *const[]){"vision.patch_embed", NULL},
            .what = "The order of the patches: along the rows of the grid. column-major: down its "
                    "columns, the position table unmoved.",
            .source = "spec 2.1: CLIPVisionEmbeddings, flatten(2)",
            .ports = "no report known",
        },
    [LLAVA_VISION_PATCH_KERNEL] =
        {
            .name = "vision.patch_kernel",
            .values = {"oihw", "ohwi", NULL},
            .acts = (const char *const[]){"vision.patch_embed", NULL},
            .what = "The layout of the patch convolution's kernel, [D, 3, p, p]. ohwi: the file's "
                    "numbers read as if they were [D, p, p, 3], as MLX and JAX keep them.",
            .source = "spec 2.1: CLIPVisionEmbeddings.patch_embedding",
            .ports = "no report known",
        },
    [LLAVA_VISION_PATCH_BIAS] =
        {
            .name = "vision.patch_bias",
            .values = {"config", "absent", NULL},
            .acts = (const char *const[]){"vision.patch_embed", NULL},
            .what = "The bias of the patch convolution, which SigLIP has and CLIP and Pixtral have "
                    "not. absent: left out, as in code written for CLIP.",
            .source = "spec 2.2: SiglipVisionEmbeddings.patch_embedding",
            .ports = "no report known",
        },
    [LLAVA_VISION_IMAGE_SIZES] =
        {
            .name = "vision.image_sizes",
            .values = {"applied", "ignored", NULL},
            .acts = (const char *const[]){"vision.patch_embed", "vision.embed", "vision.features",
                                          NULL},
            .what = "Pixtral: each picture's patches are those inside its own size, image_sizes; "
                    "the padding that fills the batch has none. ignored: every picture is taken "
                    "for as large as the largest.",
            .source = "spec 2.3: PixtralVisionModel.forward",
            .ports = "ms-swift: the sizes taken with one index too many (F 112) "
                     "https://github.com/modelscope/ms-swift/pull/4982",
        },
    [LLAVA_VISION_CLS_POSITION] =
        {
            .name = "vision.cls_position",
            .values = {"first", "last", "absent", NULL},
            .acts = (const char *const[]){"vision.embed", "vision.features", NULL},
            .what = "Where the class row stands. last: appended behind the patches, while "
                    "position rows and the dropped row stay as they were, so that each patch gets "
                    "its neighbour's position and patch 0 is lost; absent: there is none, and "
                    "none is dropped.",
            .source = "spec 2.1: CLIPVisionEmbeddings.forward",
            .ports = "llama.cpp: appended last since a rewrite (R and X 23, section 4 T and N) "
                     "https://github.com/ggml-org/llama.cpp/issues/25814; "
                     "Tencent digitalhuman: the last row taken for the class row (R 29) "
                     "https://github.com/Tencent/digitalhuman/issues/5",
        },
    [LLAVA_VISION_POSITIONS] =
        {
            .name = "vision.positions",
            .values = {"config", "shifted", "reversed", "absent", NULL},
            .acts = (const char *const[]){"vision.embed", NULL},
            .what = "Which row of the position table a row gets: its own, the class row's being "
                    "0. shifted: patch j gets row j instead of j + 1, or in SigLIP, which has no "
                    "class row, j + 1 instead of j; reversed: the table back to front; absent: "
                    "nothing is added.",
            .source = "spec 2.1, 2.2: CLIPVisionEmbeddings.position_embedding",
            .ports = "Megatron-LM: positions added before the class row was put in front (R 24) "
                     "https://github.com/NVIDIA/Megatron-LM/pull/6260; "
                     "keras-hub: position ids are a weight that begins as zeros (C 30)",
        },
    [LLAVA_VISION_PRE_NORM] =
        {
            .name = "vision.pre_norm",
            .values = {"config", "absent", NULL},
            .acts = (const char *const[]){"vision.pre_norm", NULL},
            .what = "The norm in front of the first layer: CLIP's LayerNorm, pre_layrnorm in the "
                    "files, and Pixtral's RMSNorm, ln_pre. absent: left out, perhaps for its "
                    "spelling.",
            .source = "spec 2.1, 2.3: CLIPVisionTransformer.pre_layrnorm",
            .ports = "no report known",
        },
    [LLAVA_VISION_NORM_EPS] =
        {
            .name = "vision.norm_eps",
            .values = {"config", "1e-5", "1e-6", "1e-7", "1e-12", NULL},
            .acts = (const char *const[]){"vision.pre_norm", "vision.layers.{i}.norm1",
                                          "vision.layers.{i}.norm2", NULL},
            .what = "The eps under the root of the tower's norms: layer_norm_eps, 1e-5 (CLIP) or "
                    "1e-6 (SigLIP) where the config leaves it out; in Pixtral always 1e-5. The "
                    "others are defaults of other frameworks and models.",
            .source = "spec 1.2, 1.3, 2.1, 2.3: CLIPVisionConfig.layer_norm_eps",
            .ports = "mindone: 1e-7 (F 39) https://github.com/mindspore-lab/mindone/pull/225; "
                     "MLC-LLM: 1e-6 by default (C 42)",
        },
    [LLAVA_VISION_ACT] =
        {
            .name = "vision.act",
            .values = {"config", "quick_gelu", "gelu", "gelu_tanh", "quick_gelu_1.773", "silu",
                       "relu", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.mlp.act", NULL},
            .what = "The activation of the tower's MLP: hidden_act, for CLIP quick_gelu(x) = x "
                    "sigmoid(1.702 x), for SigLIP gelu_tanh, for Pixtral what the file says. gelu: "
                    "the exact form; gelu_tanh: by tanh; quick_gelu_1.773: the constant of MLX's "
                    "fast GELU.",
            .source = "spec 2.1 to 2.3: CLIPVisionConfig.hidden_act; transformers activations.py",
            .ports = "MLX: 1.773 for 1.702 (F 38) https://github.com/ml-explore/mlx/pull/744; "
                     "mindone: exact GELU (F 39) "
                     "https://github.com/mindspore-lab/mindone/pull/225; "
                     "clip.cpp: both branches of the flag called quick_gelu (F 40) "
                     "https://github.com/monatis/clip.cpp/pull/13; "
                     "rclip: GELU definition with quick_gelu weights (F 41) "
                     "https://github.com/yurijmikhalevich/rclip/pull/164",
        },
    [LLAVA_VISION_ATTN_SCALE] =
        {
            .name = "vision.attn_scale",
            .values = {"head", "none", "width", "double", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.attn.scores", NULL},
            .what = "What q . k is multiplied by: d^-0.5, d the width of one head. none: nothing; "
                    "width: D^-0.5, the whole width; double: d^-1, scaled twice.",
            .source = "spec 2.1: CLIPAttention.scale",
            .ports = "no report known",
        },
    [LLAVA_VISION_ATTN_MASK] =
        {
            .name = "vision.attn_mask",
            .values = {"none", "causal", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.attn.probs", NULL},
            .what = "The tower has no mask within a picture: every row sees every row. causal: a "
                    "text model's mask left in.",
            .source = "spec 2.1: CLIPEncoder.forward",
            .ports = "no report known",
        },
    [LLAVA_VISION_PICTURE_MASK] =
        {
            .name = "vision.picture_mask",
            .values = {"applied", "ignored", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.attn.probs", NULL},
            .what = "Pixtral: all pictures are one sequence, in which a patch sees only the "
                    "patches "
                    "of its own picture. ignored: it sees all of them, which one picture alone "
                    "never shows.",
            .source = "spec 2.3: generate_block_attention_mask",
            .ports =
                "mistral-inference: the mask not passed on, so that the pictures of a call saw "
                "each other (R 109) https://github.com/mistralai/mistral-inference/pull/218",
        },
    [LLAVA_VISION_ATTN_BIAS] =
        {
            .name = "vision.attn_bias",
            .values = {"config", "absent", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.attn.q", "vision.layers.{i}.attn.k",
                                          "vision.layers.{i}.attn.v",
                                          "vision.layers.{i}.attn.out", NULL},
            .what = "The biases of q, k, v and the output projection of the tower. absent: left "
                    "out of all four.",
            .source = "spec 2.1: CLIPAttention",
            .ports = "no report known",
        },
    [LLAVA_VISION_QK_LAYOUT] =
        {
            .name = "vision.qk_layout",
            .values = {"plain", "permuted", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.attn.q", "vision.layers.{i}.attn.k",
                                          NULL},
            .what = "The order of the rows within a head of q and k. permuted: llama.cpp's "
                    "reordering for rotary weights, [h, 2, d/2] to [h, d/2, 2], applied to a "
                    "tower that has no rotary embedding: scores do not change, as q and k move "
                    "alike. Pixtral has one, and the files of transformers are in its order, the "
                    "half kind: with the wrong order the wrong elements turn together.",
            .source = "spec 2.1, 8: CLIPAttention; PixtralAttention",
            .ports = "tt-metal: rotary reordering of tower weights (R 48) "
                     "https://github.com/tenstorrent/tt-metal/issues/32024",
        },
    [LLAVA_VISION_ROPE_AXES] =
        {
            .name = "vision.rope_axes",
            .values = {"row-column", "column-row", NULL},
            .acts = (const char *const[]){"vision.rope.cos", "vision.rope.sin", NULL},
            .what = "Pixtral turns the first quarter of a head (and the third) by the patch's row, "
                    "the second (and the fourth) by its column. column-row: the other way round.",
            .source = "spec 2.3: PixtralVisionRotaryEmbedding",
            .ports = "timm: height and width exchanged in an embedding indexed by x and y (F 111) "
                     "https://github.com/huggingface/pytorch-image-models/pull/2541",
        },
    [LLAVA_VISION_ROPE_FREQUENCIES] =
        {
            .name = "vision.rope_frequencies",
            .values = {"alternating", "split", "shared", NULL},
            .acts = (const char *const[]){"vision.rope.cos", "vision.rope.sin", NULL},
            .what = "Pixtral: of the frequencies theta^(-2j/d) the rows have the even j and the "
                    "columns the odd ones. split: the rows have the first half of them and the "
                    "columns the second; shared: both have the even ones, as where each axis is a "
                    "rotary embedding of its own, of half the width.",
            .source = "spec 2.3: PixtralVisionRotaryEmbedding.compute_axial_rope_parameters",
            .ports = "no report known",
        },
    [LLAVA_VISION_ROPE_THETA] =
        {
            .name = "vision.rope_theta",
            .values = {"config", "1e4", "1e6", "1e9", NULL},
            .acts = (const char *const[]){"vision.rope.cos", "vision.rope.sin", NULL},
            .what = "Pixtral: the base of the rotary frequencies, rope_theta of the vision part, "
                    "10000 where it says nothing. The others are the language model's.",
            .source = "spec 1.4: PixtralVisionConfig.rope_parameters",
            .ports = "no report known",
        },
    [LLAVA_VISION_ROPE_POSITIONS] =
        {
            .name = "vision.rope_positions",
            .values = {"picture", "continued", "sequence", NULL},
            .acts = (const char *const[]){"vision.rope.cos", "vision.rope.sin", NULL},
            .what = "Pixtral: a patch's position is its row and its column in its own picture, "
                    "from "
                    "0. continued: rows are counted on from picture to picture; sequence: both "
                    "are the patch's number in the sequence, as in a text.",
            .source = "spec 2.3: PixtralVisionModel.forward",
            .ports = "mlx-vlm: positions made for all pictures together (F 110) "
                     "https://github.com/Blaizzy/mlx-vlm/pull/78",
        },
    [LLAVA_VISION_ROPE_PAIRING] =
        {
            .name = "vision.rope_pairing",
            .values = {"half", "interleaved", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.attn.q_rope",
                                          "vision.layers.{i}.attn.k_rope", NULL},
            .what = "Pixtral: element j turns with element j + d/2, in the order that the files of "
                    "transformers have. interleaved: 2j with 2j + 1, the order of Mistral's own "
                    "files.",
            .source = "spec 2.3, 8: transformers models/pixtral, rotate_half",
            .ports = "no report known",
        },
    [LLAVA_VISION_MLP_ORDER] =
        {
            .name = "vision.mlp_order",
            .values = {"plain", "gate-up-swapped", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.mlp.act", NULL},
            .what = "Pixtral: the gate goes through the activation, act(gate) * up. "
                    "gate-up-swapped: act(up) * gate.",
            .source = "spec 2.3: PixtralMLP",
            .ports = "no report known",
        },
    [LLAVA_VISION_FEATURE_LAYER] =
        {
            .name = "vision.feature_layer",
            .values = {"config", "one-less", "one-more", "last", NULL},
            .acts = (const char *const[]){"vision.features", NULL},
            .what = "Which hidden state goes to the projector: vision_feature_layer, -2 being the "
                    "output of the last layer but one. one-less, one-more: a list that begins or "
                    "ends elsewhere, or the rule applied twice; last: the last layer's output.",
            .source = "spec 2.1, 3: LlavaModel.get_image_features",
            .ports = "llama.cpp: the last layer dropped by the converter and another by the graph "
                     "(R and X 31, section 4 T and N) "
                     "https://github.com/ggml-org/llama.cpp/issues/25817; "
                     "candle: the list lacks the embeddings and ends with the pooled row: -2 is "
                     "the last layer (C 32); "
                     "vLLM: positive indices one off (F 33) "
                     "https://github.com/vllm-project/vllm/pull/13514; "
                     "LLaVA-NeXT: a tower cut short, then -1, "
                     "the config's key ignored (R 34) "
                     "https://github.com/zjysteven/lmms-finetune/issues/4",
        },
    [LLAVA_VISION_POST_NORM] =
        {
            .name = "vision.post_norm",
            .values = {"absent", "applied", NULL},
            .acts = (const char *const[]){"vision.features", NULL},
            .what = "The tower's last LayerNorm is no part of LLaVA: features are the raw hidden "
                    "state. applied: normalised by post_layernorm before the rows are selected.",
            .source = "spec 2.1: CLIPVisionTransformer; LlavaModel.get_image_features",
            .ports = "vLLM: features normalised twice (F 35) "
                     "https://github.com/vllm-project/vllm/pull/9653; "
                     "text-generation-inference: applied (F 36) "
                     "https://github.com/huggingface/text-generation-inference/pull/2455; "
                     "vLLM: in SigLIP, and then only where all layers run (R 113) "
                     "https://github.com/vllm-project/vllm/pull/8106; "
                     "MLC-LLM: the reverse: never called where the last state is meant (F 37) "
                     "https://github.com/mlc-ai/mlc-llm/issues/3205",
        },
    [LLAVA_VISION_SELECT] =
        {
            .name = "vision.select",
            .values = {"config", "full", "drop-last", "drop-first", NULL},
            .acts = (const char *const[]){"vision.features", NULL},
            .what = "Which rows become features: `default` drops row 0, the class row where there "
                    "is one; `full` keeps all. full: nothing is dropped; drop-last: the last row "
                    "goes instead of the first; drop-first: the first goes, as if SigLIP had a "
                    "class row.",
            .source = "spec 3: vision_feature_select_strategy; LlavaModel.get_image_features",
            .ports = "NeMo Automodel: class rows of later pictures cut at wrong places (R 25) "
                     "https://github.com/NVIDIA-NeMo/Automodel/pull/1922; "
                     "llama.cpp and ollama: row 0 dropped where a tower has no class row (F 26) "
                     "https://github.com/ollama/ollama/pull/9071; "
                     "transformers: the same for SigLIP (F 27) "
                     "https://github.com/huggingface/transformers/pull/34447; "
                     "vLLM: `default` not subtracted (F 28) "
                     "https://github.com/vllm-project/vllm/pull/7153",
        },
    [LLAVA_PROJECTOR_ACT] =
        {
            .name = "projector.act",
            .values = {"config", "gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "none", NULL},
            .acts = (const char *const[]){"projector.act", NULL},
            .what = "The activation between the projector's two layers: projector_hidden_act, the "
                    "exact GELU in LLaVA. gelu_tanh: what `gelu` means in ggml, TensorRT-LLM and "
                    "JAX; none: left out.",
            .source = "spec 3: LlavaMultiModalProjector",
            .ports = "llama.cpp: tanh, read from a float16 table (C and X 49, section 4 T and N); "
                     "ik_llama.cpp: tanh, the error measured for both (R 50) "
                     "https://github.com/ikawrakow/ik_llama.cpp/pull/2086; "
                     "TensorRT-LLM: `gelu` is the tanh form there (R 52) "
                     "https://github.com/NVIDIA/TensorRT-LLM/issues/10446; "
                     "Fast-LLM: the kind of GELU lost in conversion (F 53) "
                     "https://github.com/ServiceNow/Fast-LLM/pull/399",
        },
    [LLAVA_PROJECTOR_BIAS] =
        {
            .name = "projector.bias",
            .values = {"config", "absent", NULL},
            .acts = (const char *const[]){"projector.fc1", "projector.out", NULL},
            .what = "The biases of the projector's two layers. absent: left out of both.",
            .source = "spec 3: multimodal_projector_bias; LlavaMultiModalProjector",
            .ports = "no report known",
        },
    [LLAVA_MERGE_SCALE] =
        {
            .name = "merge.scale",
            .values = {"none", "sqrt-width", NULL},
            .acts = (const char *const[]){"text.inputs_embeds", NULL},
            .what = "What goes into the language model is not scaled. sqrt-width: the whole "
                    "merged sequence times sqrt(H), as Gemma does with its embeddings.",
            .source = "spec 3: LlavaModel.forward",
            .ports = "no report known",
        },
    [LLAVA_MERGE_PLACEMENT] =
        {
            .name = "merge.placement",
            .values = {"at-tokens", "one-early", "one-late", "front", NULL},
            .acts = (const char *const[]){"text.inputs_embeds", NULL},
            .what = "Where picture rows go: onto the image tokens, in their order. one-early, "
                    "one-late: moved by one position, wrapping; front: over the first rows of the "
                    "sample.",
            .source = "spec 3: LlavaModel.forward, masked_scatter",
            .ports = "transformers: padding taken for image slots (F 55) "
                     "https://github.com/huggingface/transformers/issues/33976; "
                     "transformers: all-zero rows taken for image slots (F 56) "
                     "https://github.com/huggingface/transformers/issues/29835; "
                     "transformers: slot arithmetic one off for some lengths (F 59) "
                     "https://github.com/huggingface/transformers/pull/28333; "
                     "candle: later pictures put at the wrong words (C 69); "
                     "guidance: the picture not where the model expects it (R 85) "
                     "https://github.com/guidance-ai/guidance/issues/664",
        },
    [LLAVA_MERGE_ORDER] =
        {
            .name = "merge.order",
            .values = {"row-major", "reversed", NULL},
            .acts = (const char *const[]){"text.inputs_embeds", NULL},
            .what = "Pictures are used up in the order of the batch. reversed: the last one first.",
            .source = "spec 3: LlavaModel.forward, masked_scatter",
            .ports = "no report known",
        },
    [LLAVA_TEXT_NORM_EPS] =
        {
            .name = "text.norm_eps",
            .values = {"config", "1e-5", "1e-6", "1e-8", NULL},
            .acts = (const char *const[]){"text.layers.{i}.norm1", "text.layers.{i}.norm2",
                                          "text.norm", NULL},
            .what = "The eps under the root of RMSNorm: rms_norm_eps, 1e-5 for Vicuna 1.5. 1e-6 "
                    "is Llama-1's, and the default of LlamaConfig where the key is missing.",
            .source = "spec 1.5, 4.1: LlamaConfig.rms_norm_eps",
            .ports = "TransformerLens: 1e-6, Llama-1's preset (R 86) "
                     "https://github.com/TransformerLensOrg/TransformerLens/issues/944; "
                     "candle: 1e-5 for 1e-6 (F 87) "
                     "https://github.com/huggingface/candle/pull/271; "
                     "mlx-vlm: 1e-6 by default (C 95)",
        },
    [LLAVA_TEXT_NORM_WEIGHT] =
        {
            .name = "text.norm_weight",
            .values = {"plain", "plus-one", NULL},
            .acts = (const char *const[]){"text.layers.{i}.norm1", "text.layers.{i}.norm2",
                                          "text.norm", NULL},
            .what = "RMSNorm multiplies by the weight. plus-one: by 1 + weight, Gemma's "
                    "convention.",
            .source = "spec 4.1: LlamaRMSNorm",
            .ports = "no report known",
        },
    [LLAVA_TEXT_NORM_KIND] =
        {
            .name = "text.norm_kind",
            .values = {"rms", "layer", NULL},
            .acts = (const char *const[]){"text.layers.{i}.norm1", "text.layers.{i}.norm2",
                                          "text.norm", NULL},
            .what = "RMSNorm subtracts no mean. layer: LayerNorm with the same weight and eps and "
                    "no bias.",
            .source = "spec 4.1: LlamaRMSNorm",
            .ports = "no report known",
        },
    [LLAVA_TEXT_ROPE_PAIRING] =
        {
            .name = "text.rope_pairing",
            .values = {"half", "interleaved", NULL},
            .acts = (const char *const[]){"text.layers.{i}.attn.q_rope",
                                          "text.layers.{i}.attn.k_rope", NULL},
            .what = "Which two elements of a head turn together: j and j + d/2, with the files' "
                    "order of rows. interleaved: 2j and 2j + 1, Meta's and ggml's layout, which "
                    "needs the rows of q and k reordered first.",
            .source = "spec 4.1: transformers modeling_llama.py, rotate_half",
            .ports = "llama2.c: HF's weights with interleaved pairs (R 88) "
                     "https://github.com/karpathy/llama2.c/pull/286; "
                     "TinyLlama's GGUF: rows reordered wrongly with grouped heads (F 89) "
                     "https://github.com/jzhang38/TinyLlama/issues/24; "
                     "llama.cpp's converter: one path left the reordering out (F 90) "
                     "https://github.com/ggml-org/llama.cpp/pull/22611; "
                     "nurllama: half-split weights, adjacent pairs (F 91) "
                     "https://github.com/nurl-lang/nurl/pull/584; "
                     "transformers and Meta: two layouts of one rotation, taken for a fault (R "
                     "92) https://github.com/huggingface/transformers/issues/25199",
        },
    [LLAVA_TEXT_ROPE_THETA] =
        {
            .name = "text.rope_theta",
            .values = {"config", "1e4", "5e5", "1e6", NULL},
            .acts = (const char *const[]){"text.rope.cos", "text.rope.sin", NULL},
            .what = "The base of the rotary frequencies theta^(-2j/d): rope_theta, 1e4 for "
                    "Llama-1 and 2. 5e5 is Llama-3's, 1e6 Mistral's and Qwen2's.",
            .source = "spec 4.1: LlamaConfig.rope_theta; LlamaRotaryEmbedding",
            .ports = "no report known",
        },
    [LLAVA_TEXT_ROPE_SCALING] =
        {
            .name = "text.rope_scaling",
            .values = {"config", "none", NULL},
            .acts = (const char *const[]){"text.rope.cos", "text.rope.sin", NULL},
            .what = "The stretching of rotary frequencies for long contexts: rope_type linear, "
                    "dynamic, yarn, longrope or llama3, in rope_parameters or the older "
                    "rope_scaling. none: ignored, attention factor and all.",
            .source = "spec 4.2: transformers modeling_rope_utils.py",
            .ports = "llama.cpp: Llama-3.1 without its factors (F) "
                     "https://github.com/ggml-org/llama.cpp/pull/8676; "
                     "ANEForge: rope_theta alone was read (F) "
                     "https://github.com/sbryngelson/ANEForge/pull/58; "
                     "mlx-vlm: ten models build a plain rotary embedding (R) "
                     "https://github.com/Blaizzy/mlx-vlm/pull/1710",
        },
    [LLAVA_TEXT_ROPE_RAMP] =
        {
            .name = "text.rope_ramp",
            .values = {"config", "absent", "all", NULL},
            .acts = (const char *const[]){"text.rope.cos", "text.rope.sin", NULL},
            .what = "How llama3 and yarn go from the pairs that keep their frequency to those "
                    "that are divided by the factor: gradually. absent: pairs between keep "
                    "theirs; all: every pair is divided, as in linear scaling.",
            .source = "spec 4.2: transformers modeling_rope_utils.py, _compute_llama3_parameters, "
                      "_compute_yarn_parameters",
            .ports = "no report known",
        },
    [LLAVA_TEXT_ROPE_ATTN_FACTOR] =
        {
            .name = "text.rope_attn_factor",
            .values = {"config", "absent", "formula", NULL},
            .acts = (const char *const[]){"text.rope.cos", "text.rope.sin", NULL},
            .what = "What yarn and longrope multiply cos and sin by: attention_factor, else from "
                    "mscale and mscale_all_dim, else from the factor (yarn 0.1 ln(factor) + 1, "
                    "longrope sqrt(1 + ln(factor) / ln(original))). absent: nothing; formula: "
                    "from the factor although the file says otherwise.",
            .source = "spec 4.2: transformers modeling_rope_utils.py, _compute_yarn_parameters, "
                      "_compute_longrope_parameters",
            .ports = "vLLM: attention_factor of the file dropped (R) "
                     "https://github.com/vllm-project/vllm/pull/48351; "
                     "mlx-lm: always the formula (R) "
                     "https://github.com/ml-explore/mlx-lm/pull/1507; "
                     "exllamav3: 1 where mscale and mscale_all_dim are both there (R) "
                     "https://github.com/turboderp-org/exllamav3/issues/259",
        },
    [LLAVA_TEXT_ROPE_TABLE] =
        {
            .name = "text.rope_table",
            .values = {"config", "short", "long", NULL},
            .acts = (const char *const[]){"text.rope.cos", "text.rope.sin", NULL},
            .what = "Which frequencies a pass turns by where they depend on the length: longrope "
                    "has a table for passes within the original context and one for longer ones, "
                    "dynamic grows with the longest context so far. short: always the table of a "
                    "short context; long: always longrope's other one.",
            .source = "spec 4.2: transformers modeling_rope_utils.py, dynamic_rope_update",
            .ports = "llama.cpp: chosen by the size of the cache, not by what is in it (R) "
                     "https://github.com/ggml-org/llama.cpp/issues/8995; "
                     "vLLM: chosen once, by the longest context allowed (F) "
                     "https://github.com/vllm-project/vllm/pull/27431; "
                     "mlxcel: the long table at every position (F) "
                     "https://github.com/lablup/mlxcel/issues/1358",
        },
    [LLAVA_TEXT_ROPE_SIGN] =
        {
            .name = "text.rope_sign",
            .values = {"plain", "reversed", NULL},
            .acts = (const char *const[]){"text.layers.{i}.attn.q_rope",
                                          "text.layers.{i}.attn.k_rope", NULL},
            .what = "The direction of the turn: x cos + rotate_half(x) sin, rotate_half(x) = "
                    "(-x2, x1). reversed: the sign of the sine is exchanged. The scores see it "
                    "only in the sign of the distance.",
            .source = "spec 4.1: transformers modeling_llama.py, apply_rotary_pos_emb",
            .ports = "no report known",
        },
    [LLAVA_TEXT_POSITIONS] =
        {
            .name = "text.positions",
            .values = {"config", "one-based", "image-shared", "mask-ignored", "mask-cumulative",
                       NULL},
            .acts = (const char *const[]){"position_ids", NULL},
            .what = "The position of each token: those given, else 0..S-1 (forward) or "
                    "cumsum(mask) - 1 (generate). one-based: plus one; image-shared: the rows of "
                    "a picture share one; mask-ignored: 0..S-1 always; mask-cumulative: from the "
                    "mask always.",
            .source = "spec 3: LlamaModel.forward; generation/utils.py",
            .ports = "TransformerLens and nnsight: padded rows get positions that ignore the mask "
                     "(F 96) https://github.com/TransformerLensOrg/TransformerLens/issues/1609; "
                     "transformers LLaVA-NeXT: the padding side guessed from the ids (F 58) "
                     "https://github.com/huggingface/transformers/pull/29850",
        },
    [LLAVA_TEXT_ATTN_SCALE] =
        {
            .name = "text.attn_scale",
            .values = {"head", "none", "width", "double", NULL},
            .acts = (const char *const[]){"text.layers.{i}.attn.scores", NULL},
            .what = "What q . k is multiplied by: d^-0.5, d the width of one head. none: nothing; "
                    "width: H^-0.5, the whole width; double: d^-1, scaled twice.",
            .source = "spec 4.1: LlamaAttention.scaling",
            .ports = "no report known",
        },
    [LLAVA_TEXT_ATTN_MASK] =
        {
            .name = "text.attn_mask",
            .values = {"causal", "none", "self-excluded", "next-included", NULL},
            .acts = (const char *const[]){"text.layers.{i}.attn.probs", NULL},
            .what = "Which keys a query sees: those up to its own position. none: all; "
                    "self-excluded: only those before it; next-included: one further. The padding "
                    "mask stays.",
            .source = "spec 4.1, 4.5: transformers masking_utils.py, create_causal_mask",
            .ports = "transformers: no causal mask where attentions were asked for (F, spec 12) "
                     "https://github.com/huggingface/transformers/pull/30652",
        },
    [LLAVA_TEXT_PADDING_MASK] =
        {
            .name = "text.padding_mask",
            .values = {"applied", "ignored", NULL},
            .acts = (const char *const[]){"text.layers.{i}.attn.probs", NULL},
            .what = "Keys of padded positions are not seen. ignored: they are.",
            .source = "spec 4.5: transformers masking_utils.py",
            .ports = "transformers: the caller's mask lost behind the first step (F 57) "
                     "https://github.com/huggingface/transformers/pull/29389; "
                     "transformers LLaVA-NeXT: the mask extended on the wrong side (F 58) "
                     "https://github.com/huggingface/transformers/pull/29850; "
                     "mlx-vlm: padding attended (R 97) "
                     "https://github.com/Blaizzy/mlx-vlm/pull/1542",
        },
    [LLAVA_TEXT_KV_GROUPS] =
        {
            .name = "text.kv_groups",
            .values = {"block", "interleaved", NULL},
            .acts = (const char *const[]){"text.layers.{i}.attn.scores",
                                          "text.layers.{i}.attn.context", NULL},
            .what = "Which key/value head query head i shares, where there are fewer of them: i / "
                    "group. interleaved: i mod the number of key/value heads.",
            .source = "spec 4.1: transformers modeling_llama.py, repeat_kv",
            .ports = "no report known",
        },
    [LLAVA_TEXT_QKV_BIAS] =
        {
            .name = "text.qkv_bias",
            .values = {"config", "absent", NULL},
            .acts = (const char
                         *const[]){"text.layers.{i}.attn.q", "text.layers.{i}.attn.k",
                                   "text.layers.{i}.attn.v", NULL},
            .what = "The biases of q, k and v where a model has them. absent: left out of the "
                    "three.",
            .source = "spec 4.1: LlamaConfig.attention_bias; LlamaAttention",
            .ports = "no report known",
        },
    [LLAVA_TEXT_SLIDING_WINDOW] =
        {
            .name = "text.sliding_window",
            .values = {"config", "ignored", "one-less", "one-more", NULL},
            .acts = (const char
                         *const[]){"text.layers.{i}.attn.probs",
                                   "step.{g}.text.layers.{i}.attn.scores",
                                   "step.{g}.text.layers.{i}.attn.context", NULL},
            .what = "How many keys a query of a sliding layer sees: W, its own included. ignored: "
                    "all before it; one-less: one fewer; one-more: W beside its own. A decoding "
                    "step's scores are of just those keys.",
            .source = "spec 4.3: MistralConfig.sliding_window; transformers masking_utils.py, "
                      "sliding_window_overlay",
            .ports = "transformers: W + 1 keys with flash attention (F) "
                     "https://github.com/huggingface/transformers/issues/39408; "
                     "mlx-lm: one key too many in the prefill (F) "
                     "https://github.com/ml-explore/mlx-lm/pull/390; "
                     "vLLM: Qwen2's window not used (F) "
                     "https://github.com/vllm-project/vllm/pull/17772",
        },
    [LLAVA_TEXT_WINDOW_LAYERS] =
        {
            .name = "text.window_layers",
            .values = {"config", "all", "swapped", NULL},
            .acts = (const char
                         *const[]){"text.layers.{i}.attn.probs",
                                   "step.{g}.text.layers.{i}.attn.scores",
                                   "step.{g}.text.layers.{i}.attn.context", NULL},
            .what = "Which layers slide where not all do: Qwen2's from max_window_layers on, or as "
                    "layer_types says. all: every layer; swapped: those that should not, as when "
                    "max_window_layers is taken for the number of sliding layers.",
            .source = "spec 1.6: Qwen2Config.layer_types",
            .ports = "transformers: read the other way round, the old documentation's way (R) "
                     "https://github.com/huggingface/transformers/issues/35896",
        },
    [LLAVA_TEXT_MLP_ACT] =
        {
            .name = "text.mlp_act",
            .values = {"config", "silu", "gelu", "gelu_tanh", "relu", NULL},
            .acts = (const char *const[]){"text.layers.{i}.mlp.act", NULL},
            .what = "The activation of the gate: hidden_act, silu in Llama.",
            .source = "spec 4.1: LlamaConfig.hidden_act; LlamaMLP",
            .ports = "no report known",
        },
    [LLAVA_TEXT_MLP_ORDER] =
        {
            .name = "text.mlp_order",
            .values = {"plain", "gate-up-swapped", NULL},
            .acts = (const char *const[]){"text.layers.{i}.mlp.act", NULL},
            .what = "Which of the two products goes through the activation: act(gate) * up. "
                    "gate-up-swapped: act(up) * gate, as when w1 and w3 are exchanged.",
            .source = "spec 4.1: LlamaMLP",
            .ports = "no report known",
        },
    [LLAVA_TEXT_LAYERS] =
        {
            .name = "text.layers",
            .values = {"config", "one-less", NULL},
            .acts = (const char *const[]){"text.layers.{i}.output", NULL},
            .what = "How many layers run: num_hidden_layers. one-less: the last one hands on what "
                    "it gets; its taps are still there, for comparison.",
            .source = "spec 4.1: LlamaConfig.num_hidden_layers; LlamaModel.forward",
            .ports = "no report known",
        },
    [LLAVA_TEXT_FINAL_NORM] =
        {
            .name = "text.final_norm",
            .values = {"applied", "absent", NULL},
            .acts = (const char *const[]){"text.norm", NULL},
            .what = "The RMSNorm behind the last layer. absent: left out.",
            .source = "spec 4.1: LlamaModel.norm",
            .ports = "no report known",
        },
    [LLAVA_CACHE_POSITION] =
        {
            .name = "cache.position",
            .values = {"next", "repeated", "skipped", NULL},
            .acts = (const char *const[]){"step.{g}.position_ids", NULL},
            .what = "The position of the first decoded token: one behind the prompt's last; "
                    "further steps count on from there. repeated: the prompt's last again; "
                    "skipped: one left out.",
            .source = "spec 9: transformers generation/utils.py",
            .ports = "transformers VipLLaVA: past length read from the wrong axis (F 60) "
                     "https://github.com/huggingface/transformers/pull/29874; "
                     "tiny-llm: the cache's offset advanced twice (F 98) "
                     "https://github.com/skyzh/tiny-llm/pull/46",
        },
    [LLAVA_NUMERICS_WEIGHTS] =
        {
            .name = "numerics.weights",
            .values = {"stored", "f16", "bf16", "int8", "int8-block32", NULL},
            .acts = (const char *const[]){"vision.patch_embed",
                                          "vision.embed",
                                          "vision.layers.{i}.attn.q",
                                          "vision.layers.{i}.attn.k",
                                          "vision.layers.{i}.attn.v",
                                          "vision.layers.{i}.attn.out",
                                          "vision.layers.{i}.mlp.fc1",
                                          "vision.layers.{i}.mlp.gate",
                                          "vision.layers.{i}.mlp.up",
                                          "vision.layers.{i}.mlp.out",
                                          "projector.fc1",
                                          "projector.out",
                                          "text.embed",
                                          "text.layers.{i}.attn.q",
                                          "text.layers.{i}.attn.k",
                                          "text.layers.{i}.attn.v",
                                          "text.layers.{i}.attn.out",
                                          "text.layers.{i}.mlp.gate",
                                          "text.layers.{i}.mlp.up",
                                          "text.layers.{i}.mlp.out",
                                          "logits",
                                          NULL},
            .what = "The type in which a port keeps the matrices, tables of tokens and positions "
                    "included (but see numerics.weights_kept). f16, bf16: converted; int8: one "
                    "scale a row; int8-block32: a float16 scale for 32 numbers, llama.cpp's q8_0. "
                    "Vectors keep theirs.",
            .source = "contract 5; spec 1.7",
            .ports = "SGLang: the tower is float16 whatever the model (R 45) "
                     "https://github.com/sgl-project/sglang/issues/262; "
                     "llama.cpp: the patch kernel is float16 even in float32 files (C, section 2)",
        },
    [LLAVA_NUMERICS_WEIGHTS_KEPT] =
        {
            .name = "numerics.weights_kept",
            .values = {"none", "positions", "tokens", "tables", "patches", "head", "tables-head",
                       "tables-patches", "patches-head", "tables-patches-head", NULL},
            .acts = (const char *const[]){"vision.patch_embed", "vision.embed",
                                          "text.embed", "logits", NULL},
            .what = "Which matrices stay as stored where numerics.weights rounds the others: the "
                    "table of positions, that of tokens, both (what is looked up and not "
                    "multiplied with), the patch convolution's kernel, the head.",
            .source = "contract 5 and 11",
            .ports = "llama.cpp: its converter leaves the table of positions in float32 (C); "
                     "bitsandbytes: quantises linear layers alone, the head left out (by design)",
        },
    [LLAVA_NUMERICS_PATCH_INPUT] =
        {
            .name = "numerics.patch_input",
            .values = {"exact", "f16", "bf16", "tf32", NULL},
            .acts = (const char *const[]){"vision.patch_embed", NULL},
            .what = "Pixels enter the patch convolution as they are. f16, bf16, tf32: rounded to "
                    "that type first.",
            .source = "contract 5",
            .ports = "llama.cpp: the picture enters as float16 (X, section 4 T and N)",
        },
    [LLAVA_NUMERICS_MATMUL_INPUT] =
        {
            .name = "numerics.matmul_input",
            .values = {"exact", "f16", "bf16", "tf32", NULL},
            .acts = (const char
                         *const[]){"vision.layers.{i}.attn.q", "vision.layers.{i}.attn.k",
                                   "vision.layers.{i}.attn.v", "vision.layers.{i}.attn.out",
                                   "vision.layers.{i}.mlp.fc1", "vision.layers.{i}.mlp.gate",
                                   "vision.layers.{i}.mlp.up", "vision.layers.{i}.mlp.out",
                                   "projector.fc1", "projector.out", "text.layers.{i}.attn.q",
                                   "text.layers.{i}.attn.k", "text.layers.{i}.attn.v",
                                   "text.layers.{i}.attn.out", "text.layers.{i}.mlp.gate",
                                   "text.layers.{i}.mlp.up", "text.layers.{i}.mlp.out", "logits",
                                   NULL},
            .what = "What enters the products with weights, but for the patch convolution, is not "
                    "rounded first. f16, bf16, tf32: it is, to that type.",
            .source = "contract 5",
            .ports = "llama.cpp: float16 with float16 weights (X, section 4 N)",
        },
    [LLAVA_NUMERICS_ACT_TABLE] =
        {
            .name = "numerics.act_table",
            .values = {"exact", "f16", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.mlp.act", "projector.act",
                                          "text.layers.{i}.mlp.act", NULL},
            .what = "Activations are computed. f16: read from a table that holds float16(act(x)) "
                    "for every float16 x, computed in float32; the tanh GELU beyond 10 is x or 0.",
            .source = "contract 5",
            .ports = "llama.cpp: quick_gelu and gelu on CPU (X, section 4 T and N)",
        },
    [LLAVA_NUMERICS_ATTN_ACCUMULATE] =
        {
            .name = "numerics.attn_accumulate",
            .values = {"exact", "f16", "flash-f16", NULL},
            .acts = (const char *const[]){"vision.layers.{i}.attn.context",
                                          "text.layers.{i}.attn.context", NULL},
            .what = "The weighted sum of values is kept in full width. f16: rounded to float16 "
                    "after every term. flash-f16: in one pass over float16 q, k and v, the sum "
                    "of exp(score - highest so far) * v rounded to float16 after every term, "
                    "divided by the sum of those weights at the end.",
            .source = "contract 5",
            .ports = "llama.cpp: flash-f16, the default on CPU (X, section 4 N)",
        },
    [LLAVA_NUMERICS_KV_CACHE] =
        {
            .name = "numerics.kv_cache",
            .values = {"exact", "f16", "bf16", NULL},
            .acts = (const char *const[]){"text.layers.{i}.attn.scores",
                                          "text.layers.{i}.attn.context", NULL},
            .what = "Cached keys and values keep the type of the run. f16, bf16: rounded to that "
                    "type when stored, the prompt's own included.",
            .source = "contract 5",
            .ports = "llama.cpp: float16, and with flash attention even where float32 is asked "
                     "for (X 99, section 4 L1)",
        },
    [LLAVA_NUMERICS_ISLANDS] =
        {
            .name = "numerics.islands",
            .values = {"none", "hf", NULL},
            .acts = (const char *const[]){"vision.pre_norm", "vision.rope.cos", "vision.rope.sin",
                                          "vision.layers.{i}.norm1", "vision.layers.{i}.attn.probs",
                                          "vision.layers.{i}.norm2", "text.rope.cos",
                                          "text.rope.sin", "text.layers.{i}.norm1",
                                          "text.layers.{i}.attn.probs", "text.layers.{i}.norm2",
                                          "text.norm", "loss", NULL},
            .what = "Nothing leaves the type of the run. hf: transformers' float32 islands, also "
                    "in wider types: RMSNorm, rotary tables, softmax and loss, and the logits "
                    "that generate() chooses by.",
            .source = "spec 5.1, 14.2",
            .ports = "transformers: a golden made with double is float32 in these places (by "
                     "design, spec 5.1)",
        },
};

const llava_decision *llava_decision_at(llava_decision_id id)
{
    return &decisions[id];
}
