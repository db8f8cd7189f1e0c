//! Pinned values: the hashes of whole tensors and slices, for every kind of distribution, in
//! every dtype. A change here is a new version of the stream: models that were made with this one
//! could not be made again. Do not pin other values; keep version 1 beside the new one.
//!
//! What the values mean is the business of `tests/oracle.rs`; here they only must stay.

use fanin::{Fill, Init, STREAM_VERSION, Shape, Slice, Tensor, cpu};
use sha2::{Digest, Sha256};

/// Initializer, tensor's name, shape, slice, seed, dtype; SHA-256 of the little-endian bytes and
/// the first four elements of them in hexadecimal, as numbers.
///
/// `-` is the scalar shape and the whole slice.
const PINNED: &str = "
normal                                   w 7x33 - 42 f32 17642ca7a23a0fc28cab03612b073da4f64564de988cdcf63b44fd5791998af2 3feb6b28,bf704b16,bf175e4c,3f84ec6f
normal                                   w 7x33 - 42 f16 928463c9ae4b8a84579b74a4a728cfd7fc490b34b5e506db03a423f06fafc6e0 3f5b,bb82,b8bb,3c27
normal                                   w 7x33 - 42 bf16 43666b360c9a9c5c56f983f2991074dbd5047b535dee6789f2bff225d025e5ed 3feb,bf70,bf17,3f85
normal(mean=-1.5,std=0.5)                w 7x33 - 42 f32 11c125def53a6413b70445b43f73d7629091976143dfb8b27b1ed8eb56eb4ddf bf1494d8,bffc12c6,bfe5d793,bf7b1391
normal(mean=-1.5,std=0.5)                w 7x33 - 42 f16 0e565fda4de94b6c3e14814469f60c4ea1cb303b979041063e94a00b0a775341 b8a5,bfe1,bf2f,bbd9
normal(mean=-1.5,std=0.5)                w 7x33 - 42 bf16 db3817bb413d408d6e60195a07c772cfa11e07c9e1a33e5557086cbd94ea4be4 bf15,bffc,bfe6,bf7b
normal(std=1e-40)                        w 7x33 - 42 f32 d464e6ece5b636818860fa3edc6f92ab159f732c8462c849192b76665e60843e 000200b2,800105a8,8000a4d3,0001217b
normal(std=1e-40)                        w 7x33 - 42 f16 8c9bce0b304033b147d34d163944a5471bb336ec6b383a49dc0a8927ac735d31 0000,8000,8000,0000
normal(std=1e-40)                        w 7x33 - 42 bf16 8253fe88c1f60653caa19c77043fc60eb5457054ec63ad4185072fc0770151e1 0002,8001,8001,0001
normal(std=4e-5)                         w 7x33 - 42 f32 9d3f7c86906570123a0953e39cb6610bdab8c306ad01ecbd17bafd7d9c662c8a 389a48af,b81d7a87,b7c666c9,382e39bf
normal(std=4e-5)                         w 7x33 - 42 f16 cf2db03411bcf3f8879a031527b5d20c3709ff2f8b0db5a293529c41be295edd 04d2,8276,818d,02b9
normal(std=4e-5)                         w 7x33 - 42 bf16 f5d81f28643f580c1ed96d403267cc8d5216c832a69efc2f144e14911f009b4d 389a,b81d,b7c6,382e
normal(mean=1e38,std=1.5e38)             w 7x33 - 42 f32 aff14febd7e888ca8bbfcf2733a5384b860ed23995b6826ab83cc93d705d7e8d 7f800000,fdf58988,7d081c40,7f406b78
normal(mean=1e38,std=1.5e38)             w 7x33 - 42 f16 6b0a5ff75e2b34a2002eb3c88ca5126911d44d5730759d75e57911739fb15e7a 7c00,fc00,7c00,7c00
normal(mean=1e38,std=1.5e38)             w 7x33 - 42 bf16 94bdb20ef880c9e1c710fa9373cf7d0d1ff59ed6eb41ffd835829f658f53f318 7f80,fdf6,7d08,7f40
normal(mean=2,std=0)                     w 7x33 - 42 f32 03f8a1c11cef6565ebcabc8f089fb2e506969ae0425adfd762e43afc66bd50a5 40000000,40000000,40000000,40000000
uniform                                  w 7x33 - 42 f32 2d7fb5a5a86513d024f661836aba419940bcbe4f58adf87098e65f0831731948 3df2ec8c,3f6cc5f2,3efab6ba,3eaa2d8e
uniform                                  w 7x33 - 42 f16 a2499dad56fc91c527902e134114cd9575c9fc4c6738fbd2659986bfa20b9cb8 2f97,3b66,37d6,3551
uniform                                  w 7x33 - 42 bf16 862757f5049b613aec445e895aae1a627cbbbe50474e874591867653219c39d3 3df3,3f6d,3efb,3eaa
uniform(low=-1,high=1)                   w 7x33 - 42 f32 75f34fa5eca00c30adc334c0ef432dfa6ac878f43582e1c0267ebeba609e131a bf4344dd,3f598be5,bca928ca,beaba4e4
uniform(low=-1,high=1)                   w 7x33 - 42 f16 5d761c3fa52284c72887cee7c60fd62cca665932c80bb82e74f5deed2413dad8 ba1a,3acc,a549,b55d
uniform(low=-1,high=1)                   w 7x33 - 42 bf16 e4eec4a0e2523f8b7783a51e9d21e0025b8eb50a5b40a6648e33e5cf93776b2e bf43,3f5a,bca9,beac
uniform(low=0.1,high=0.7)                w 7x33 - 42 f32 84f2f193599bb18444ca20868f7af77cea7e66b29b30658fc18bdb0007437424 3e2f46f6,3f27a9f8,3ec9a0d6,3e994e88
uniform(low=0.1,high=0.7)                w 7x33 - 42 f16 e64a5edb30cc5ee23815c7527e82e0028003e55a71c3b8095ad441e1d683a5a5 317a,393d,364d,34ca
uniform(low=0.1,high=0.7)                w 7x33 - 42 bf16 0950d72c709969aea83d2e8d672300c51be6ceaaed78e4c46d77b0b9960b77e0 3e2f,3f28,3eca,3e99
uniform(low=1,high=1.0000002384185791)   w 7x33 - 42 f32 f7548f550ddb16a4b220cdb747dd251b477a7e7c86c0596815da24b96f96e84b 3f800000,3f800001,3f800001,3f800001
uniform(low=-6e-45,high=6e-45)           w 7x33 - 42 f32 af81491b5ccf9561478a76816c88f69d073c3c3cce330d13fa22fd17060942f1 80000003,00000003,80000000,80000001
uniform(low=60000,high=70000)            w 7x33 - 42 f16 8e5b5c7fcce1d83792a794232592779401aa00c6721c70cb327a85f4cbe79d22 7b78,7c00,7bec,7bbb
constant(value=0.1)                      w 7x33 - 42 f32 f11b31db80409461dc9f0f31d0f42efddb8d83513098b17116d4cad2ca14c796 3dcccccd,3dcccccd,3dcccccd,3dcccccd
constant(value=0.1)                      w 7x33 - 42 f16 6772a04a703a43976db1c3a63c4a0687f0cc61fb8ed3f7685d3240ae983cf775 2e66,2e66,2e66,2e66
constant(value=0.1)                      w 7x33 - 42 bf16 9899134864134696be047fe3fe8243048bfcf0e10c901d80f4db0d8e867ed8cc 3dcd,3dcd,3dcd,3dcd
constant(value=-0)                       w 7x33 - 42 f32 ad6901e3bee002eb4c139913f0639b2b3cefd1da4163e1f0ccc5578093ece652 80000000,80000000,80000000,80000000
constant(value=65520)                    w 7x33 - 42 f16 ce0fa307584f3a73e867a8b4c213b950cceca49463f39f77d7b8319df06935f9 7c00,7c00,7c00,7c00
zeros                                    w 7x33 - 42 f32 ce7c16adff608d624a412164fdc692305fb461f4b14f9167e6efa78dbbad12ba 00000000,00000000,00000000,00000000
ones                                     w 7x33 - 42 bf16 8bfdfa09ee7a31ad128180fd37a9c557c6c368c97f5fbda5fb0b54da473e0d0f 3f80,3f80,3f80,3f80
xavier_normal                            fc.weight 512x784 - 42 f32 bdaae54e8a43e197464753ba56bd0879ce27790a95cddfd05400fbc6d5cfab59 bc9279b8,bc8e2b3a,3ce084e9,bb8c7a65
xavier_uniform(gain=1.5)                 fc.weight 512x784 - 42 f32 e2e5dc5673cd2b72326b22702c993105f1150456467da9fe7fe24dbd0a828d23 3d84d847,3ccd0d79,3d698a92,3dc6b30f
kaiming_normal                           fc.weight 512x784 - 42 f32 2d718d045072701e46a8b30d25f963194b93349ebef911833a8a26e3eba0c95b bcbc535a,bcb6c9dd,3d105571,bbb49d5e
kaiming_normal                           fc.weight 512x784 - 42 f16 7295073e02b3c9c6f3ee57fb30120391cec647ae73924e4c71c5b8608012516d a5e3,a5b6,2883,9da5
kaiming_normal                           fc.weight 512x784 - 42 bf16 37dfa5e4ed6751f76cff1a6bc093d63f4b79408f793e3348f0708719054ad895 bcbc,bcb7,3d10,bbb5
kaiming_uniform(a=0.1,mode=fan_out)      conv.weight 64x16x3x3 - 42 f32 327de5a0ab161c8bf089b2d7fc65affd4bdd0628c7b369374b523acb60a50786 3d93cbf0,3cfd0ac3,3d114475,bd35dd0e
kaiming_uniform(a=0.1,mode=fan_out)      conv.weight 64x16x3x3 - 42 f16 5703550c218b8cc3f718fb24582afe141c5da0ad9ea79dbc89924ab1889b6b1f 2c9e,27e8,288a,a9af
kaiming_uniform(a=0.1,mode=fan_out)      conv.weight 64x16x3x3 - 42 bf16 23c38fdc9a9201f85d714a8019916d8a5b76f524dbd2fa54cb48df0baa54f29b 3d94,3cfd,3d11,bd36
variance_scaling(distribution=normal)    conv.weight 64x16x3x3 - 42 f32 85f9d33bd49f66fc73453e70dc1094ebce85bb5bb02d6564fd600a0090c72488 bcdc4b28,bd1bd84f,bc6d7283,3d947d20
lecun_normal                             conv.weight 64x16x3x3 - 42 f32 e18c41657dde9f7b66d66dfe92e27b5333cab27fc677a1a1b88f7eb9ed3a6bd1 3dc042b9,3d107668,3d27244a,bd5536c0
he_normal                                fc.weight 512x784 - 42 bf16 34822d3705e9315d258f1e66b56c0ff4d5c893f21538f3d5f6df96209aa1a2e6 3d49,3c8c,3d2b,3dc6
trunc_normal(std=0.02)                   w 7x33 - 42 f32 d14da196e38c4c9d50d7574bbcc4910a87eeeb297410480fecee392d9cba038a bcc1a60e,3cebbb5b,ba07b38f,bc0e005e
trunc_normal                             w 7x33 - 42 f32 0f3bef4ab42a70443cc417296dd55e8f9a4e670a9168cbdb15d56c722c195417 bf8c9f5e,3fa82e5d,bcca6244,bed32c5c
trunc_normal                             w 7x33 - 42 f16 7fff853b62b784e7c8dd854fd9492118a9120a242f2c36d1a5cb14a3ba859c76 bc65,3d41,a653,b699
trunc_normal(mean=0.5,a=-0.25,b=0.75)    w 131x509 - 42 f32 7b365dc1d586d3c5a8973558dd25893fd0708a637f429b6134f2129aebf05cca bde253c0,3f2da5ef,3e89f300,3dec8394
trunc_normal(a=-1000,b=1000)             w 131x509 - 42 f32 85d5f4c08b63bf50a15d37dee4388c6c512896f2113fae310150423ac2c586b4 bf9749bb,3fb82a60,bcd40890,bedde093
trunc_normal(a=5,b=inf)                  w 131x509 - 42 f32 fa6a43e5f85abe49e3606a7cebae8c030a8063f0bfda663364cb28c11c210518 40a0c6fa,40af4a5f,40a419fa,40a27998
trunc_normal(a=-12,b=-11.5)              w 131x509 - 42 f32 22248723db165c9f41e97f53d53e15b170e225620477253eae2ec318d2320476 c13ae4f4,c1381b84,c138fac8,c13981f4
trunc_normal(a=1000000,b=1000001)        w 131x509 - 42 f32 e612a94145c0fc76396c255572b4ea5e53941fe69489217d1e2c481ba3e7eb42 49742400,49742400,49742400,49742400
truncated_normal(mean=1,std=0.1,lower=-3) w 131x509 - 42 f32 f9545ce43e260894f3bdd3a852756ae42c759eb515b04c638bb7d90526575e09 3f618bfe,3f90b256,3f7eaa8d,3f746f4c
mamba2_a_log                             w 131x509 - 42 f32 fdf6160f8ff0de456a6a29a88bdf8ecd474ce5fe0db8601e78475f4338c05852 3f82d693,402cc5dc,4007c993,3fe50a16
mamba_dt_bias                            w 131x509 - 42 f32 3096731a7511bc81189d27a3c3b01514c8417a6d83f73482eb336468cd39127e c0cb8a6f,c0273930,c094bbf8,c0abfe39
mamba_a_log                              w 131x16 - 42 f32 08ac509f7992faab5c21a11d13b99c6789368b14395c52d087f7c3bf956f08a3 00000000,3f317218,3f8c9f54,3fb17218
sinusoids                                w 1500x384 - 42 f32 06558014e808a45162b25f7f25ed8e3e3bef5aa5aaa80c21bf29a8e3d8a6d333 00000000,00000000,00000000,00000000
sinusoidal                               w 1500x384 - 42 f32 262db5d79e803b3fa25e884f9f0a51cd84e3013b8c5805a18180cbf8003c5dc3 00000000,3f800000,00000000,3f800000
sinusoidal                               w 1500x384 3:1500,7:9 42 bf16 3b2528ad20ac87e89e27f0de10bd08cebe6621b09073d5281e899858c1c00cd8 bf5b,3f1e,bf73,be23
sparse(sparsity=0.1)                     w 131x509 - 42 f32 ab9808f81790c927a507f69ed72f8a7a2bac79eb6de0bbf8116b3374b56f8d39 3c96aafb,bc19c9a8,bbc1c061,3c2a2465
sparse(sparsity=0.5,std=1)               w 70001x9 - 42 f32 d30b33dd5e3ec2ce95a1e1d0ca5a3a8fbf03215241914400db9a72ca37060167 00000000,bf704b16,00000000,3f84ec6f
embedding(padding_idx=2)                 w 7x33 - 42 f32 f8bba9dcfe8af0bcf6ec6ae6f8d8081bdd8223b1d1e1a2350d4e791c40e7d303 3feb6b28,bf704b16,bf175e4c,3f84ec6f
eye                                      w 33x7 - 42 f32 31a366e867cfe7909dff7d3a3b07d2f48af9ff59874cd1db558012b3168cbcf3 3f800000,00000000,00000000,00000000
dirac(groups=2)                          w 8x3x3x5 - 42 bf16 5ef588d01ac20c316b6531b5d4fdb04321c368429bb98722c0e877f229ed6db4 0000,0000,0000,0000
siren                                    w 131x509 - 42 f32 cc28adfac71037306fb193bc9051aab51d0df22e976fcbd6b2a89377f8624eaf bb34e99e,3b498d5a,b89cb8f7,ba9f064c
deepnorm(layers=12)                      w 131x509 - 42 f32 13204b56ec06d1116e82cf78c02c69b5c63c9de35b6b893ddb5c499b00853307 3d0689f6,bc895324,bc2d02aa,3c97edb0
mup(role=output,std=0.02,base=256)       w 131x509 - 42 f32 5b4a0cb19c8c8aa0b3c2bbf81816e22234b9ce4b4684ff13153d9e2a408dca99 3c978e51,bc1ab1b3,bbc2e4b8,3c2b251d
lecun_uniform                            conv.weight 64x16x3x3 - 42 f32 66b6ae4dc0a2fcfb4cdf6c7ac4a6555040863a9b9d530e6dace131a78a84ceed 3dd20ef9,3d33d1f5,3d4e76bb,bd813d01
bias_uniform(fan_in=784)                 fc.bias 512 - 42 f32 545853d78a57d7a63088f9f7492286026b677cd7d7c0c5b39d1751cbd9ce2107 bc85d355,bbae770d,bca5f60a,bc07bfb3
residual_normal(std=0.02,layers=12)      h.0.attn.c_proj.weight 768x768 - 42 f32 8bdd874b2709ee6124092b1b358da5fa836b170112e31f9e60f451ae64de2ecb bb882768,3b825ee5,badb8ec4,3b091662
normal                                   w 7x33 - 0 f32 aefa801a0123ee36b7f114eef182cd8b57f0e4159de3d7e369356412375ec12b 3f626043,bf964932,3fa1363c,bf95ac97
normal                                   w 7x33 - 43 f32 1cf8abd4f6f88b7e19e7666a00fed1dc691a59c70d67ad97877eb07e948ba78d 3fb3d89c,3e4cb10a,3edd31fa,bf949962
normal                                   w 7x33 - 4294967296 f32 3486d62c6886fd9816cf491b5e5d01eacae12a41ae6acc5932f0dd7132b7622a 3ee7944a,bf8cb777,4047c36c,3ddc78ce
normal                                   w 7x33 - 18446744073709551615 f32 10f29a10f5d67b3c243ee60cc22777750b648b88a53a4847c1ac1f7927fca55e bf6d74e6,3f47aba0,bfee749a,3f855299
uniform                                  w 7x33 - 0 bf16 e98606969b774c28aa7909af5f391b3fbd3d582e87705b6e51d915cd4c563257 3eae,3f5a,3e6a,3f62
uniform                                  w 7x33 - 18446744073709551615 f16 29c6b1c851285fe7cf78a21d9de0fb6d2b3c6351f6f4fc9e4d1a3d14f37a363a 37ad,3638,2e90,36b4
normal                                   layers.0.weight 7x33 - 42 f32 57b72947cabac8592263d855296a8f649d1caf9bef6a090b9299699686c6e143 bf3833a8,3fc393f7,3f203046,3f90a2aa
normal                                   Größe/重み 7x33 - 42 f32 d71687f5e203a6e2e87cc6a84bb1e46b0d0f9069386f341a38155aca8b72a255 3efa12a0,3e10344f,bf140e25,bf05c1d6
normal                                   w - - 42 f32 3c7a48c884103a952d3d80efea776bf7caeca88099eb1d78dbb0206b69f3ebbc 3feb6b28
normal                                   w 1 - 42 f32 3c7a48c884103a952d3d80efea776bf7caeca88099eb1d78dbb0206b69f3ebbc 3feb6b28
normal                                   w 3 - 42 f16 962a561ed2649e25e2a3f4d62d62fb48362a6ee5b1172cd470f21bbb05d8a1d3 3f5b,bb82,b8bb
normal                                   w 5x1x7 - 42 bf16 6c440afbb5ce4249909e9f21ce43070a8a4e949743c902b8f7469d6bf169b7fb 3feb,bf70,bf17,3f85
normal                                   w 131x509 - 42 f32 834faf819a7b09ae5ebb8682622c5c5e2a5007afdb3ce7c439289fd1aa71c294 3feb6b28,bf704b16,bf175e4c,3f84ec6f
normal                                   w 131x509 - 42 bf16 ff4e1d79324ccbc4f232ee9a54f628a1ff0c363593b0a7d8faf9af532420da05 3feb,bf70,bf17,3f85
uniform                                  w 65539 - 42 f32 73717c6c8dc9b242467a6e80615f6c058aa077b6aaa30ad8fb2a5a64ad83d9fc 3df2ec8c,3f6cc5f2,3efab6ba,3eaa2d8e
normal                                   w 7x33 2:5,0:33 42 f32 3b29bd1de638fe9e2826517e37239516b5ebf0bce66ff435b7dbd9b02ff53dbf 3e89d505,bfed8ddd,3f6a9b11,3e8dff4f
normal                                   w 7x33 0:7,31:33 42 f32 b4e6bdbbea5b438cf7655b4e2a0834de1c849b678e40237c00223949d44712b7 be76154d,bfc4a3ab,3f665ebc,bf642b6f
normal                                   w 7x33 6:7,1:2 42 bf16 9358df4467b2c956a50895cf22c037ff36b4d2c9d795ed7585dc73969fe139a9 3ee1
uniform                                  w 9x8x7x6 1:8,2:7,3:4,1:5 42 f32 9fcdee7aa82e01d5d9fae33d27668913fad418e11b229424a487e040c9804119 3f30c4fc,3e2ecc9c,3f1947f4,3f23fe54
uniform                                  w 9x8x7x6 1:8,0:8,0:7,0:6 42 f16 b524361b7915f2e3161481befe69baff6ba609947edaefef89d95275fe90bf64 3710,38f7,3b59,1cb8
normal                                   w 1125899906842624 4294967290:4294967301 42 f32 9b691e75e8e47392f173f1227548f02c8a4c59fae233e6678ee6c027ff0a2dac 3ff04087,bf15e9ce,bf129c36,3f0961f6
normal                                   w 1125899906842624 17179869183:17179869190 42 f32 8927f5e97f14f312614ff74d977152928382f96f78d5f8b4e9c331ff4bdf3b12 3ea5a64d,3e0de6cb,bf4bc356,3e8e3937
uniform                                  w 1125899906842624 562949953421309:562949953421317 42 f32 01fd25a97689267890472981171a079cb4baa4890e1f2ec0089f47e4fedee5d2 3d9d1880,3ea960b5,3f66c57e,3f074f18
normal                                   w 33554432x33554432 33554431:33554432,33554400:33554432 42 bf16 2eacec39979ae600eaebea32c2781ef9cb21ce05ccf702f9b5dbe9ee80445e11 3fb4,bff1,bf0c,3d98
";

fn shape(text: &str) -> Shape {
    let dims: Vec<u64> = match text {
        "-" => Vec::new(),
        dims => dims.split('x').map(|dim| dim.parse().unwrap()).collect(),
    };
    Shape::new(dims).unwrap()
}

/// The line of the table that the fill of these columns makes.
fn line(init: &str, name: &str, dims: &str, part: &str, seed: &str, dtype: &str) -> String {
    let shape = shape(dims);
    let slice = match part {
        "-" => Slice::full(&shape),
        ranges => Slice::parse(ranges, &shape).unwrap(),
    };
    let tensor = Tensor::new(name, shape.dims()).unwrap();
    let rule: Init = init.parse().unwrap();
    let fill = Fill::new(&tensor, &rule, seed.parse().unwrap())
        .unwrap()
        .with_dtype(dtype.parse().unwrap())
        .slice(slice)
        .unwrap();
    let mut bytes = vec![0; fill.bytes() as usize];
    cpu::fill(&fill, &mut bytes).unwrap();

    let hex = |bytes: &mut dyn Iterator<Item = &u8>| {
        bytes.map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let hash = hex(&mut Sha256::digest(&bytes).iter());
    let first: Vec<String> = bytes
        .chunks(fill.dtype().size() as usize)
        .take(4)
        .map(|element| hex(&mut element.iter().rev()))
        .collect();
    format!(
        "{init:40} {name} {dims} {part} {seed} {dtype} {hash} {}",
        first.join(",")
    )
}

#[test]
fn values_are_those_that_were_pinned() {
    let pinned: Vec<&str> = PINNED.trim().lines().collect();
    let made: Vec<String> = pinned
        .iter()
        .map(|line_| {
            let columns: Vec<&str> = line_.split_whitespace().collect();
            let &[init, name, dims, part, seed, dtype, _, _] = &columns[..] else {
                panic!("not 8 columns: {line_}");
            };
            line(init, name, dims, part, seed, dtype)
        })
        .collect();
    let changed: Vec<&String> = made
        .iter()
        .zip(&pinned)
        .filter_map(|(made, pinned)| (made != pinned).then_some(made))
        .collect();
    assert!(
        changed.is_empty(),
        "{} of {} pinned tensors have changed. That is a new version of the stream: version \
         {STREAM_VERSION} must stay as it was. Now they are\n{}",
        changed.len(),
        pinned.len(),
        changed
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    );
}

/// The table itself is version 1.
#[test]
fn the_pinned_version_is_1() {
    assert_eq!(STREAM_VERSION, 1);
}
