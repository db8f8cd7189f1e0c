//! Pinned values: the hashes of whole tensors and slices, for every kind of distribution and every dtype. If a hash
//! changes, models that were made with this version of the stream cannot be made again. Do not replace the hashes.
//! Make a new version of the stream and keep version 1 beside it.
//!
//! This file only tests that the values do not change. `tests/library/oracle.rs` tests that they are correct.

use fanin::{Fill, Init, STREAM_VERSION, Shape, Slice, Tensor, cpu};
use sha2::{Digest, Sha256};

/// The columns are the initializer, the tensor's name, the shape, the slice, the seed, the dtype, the SHA-256 of the
/// little-endian bytes, and the bits of the first four elements in hexadecimal.
///
/// `-` is a scalar's shape, or no slice.
const PINNED: &str = "
normal                                   w 7x33 - 42 f32 7d0ab0e4b524c2cb7f64b8b42040e8e4fb24bca42db7cba1b0e7682d3d6d628c bfcad637,bfa97402,3d111ce8,bf98e48f
normal                                   w 7x33 - 42 f16 7b00140fdfe637273736bcfd7e202a5e39a4d37591c78f4fb93c314380141540 be57,bd4c,2889,bcc7
normal                                   w 7x33 - 42 bf16 2d36ee5696238ee96ef6e0841a19d349aa107c8a66e20307ad5a36b5e279e530 bfcb,bfa9,3d11,bf99
normal(mean=-1.5,std=0.5)                w 7x33 - 42 f32 7dd57196e803561ce3c003546e9ed5b591f3bf702ce30103d0e14e48cc97bb3d c012b58e,c00a5d01,bfbdbb8d,c0063924
normal(mean=-1.5,std=0.5)                w 7x33 - 42 f16 dcf697396d4b3daa45cdc3647331f8e1e0ebd4c28190190b8d7c9f6fdb76fb45 c096,c053,bdee,c032
normal(mean=-1.5,std=0.5)                w 7x33 - 42 bf16 9c4f61414fca28437b230807fe1afe378ad2a55af589f719e8a4a2f8965fc20d c013,c00a,bfbe,c006
normal(std=1e-40)                        w 7x33 - 42 f32 1ede6402a58053d22e2cc68544a9b79c202a17ff7b269bed7114fd75dc65876a 8001b9bd,80017109,000009e0,80014cf8
normal(std=1e-40)                        w 7x33 - 42 f16 89695af651b5c0e006da3b0059f82a3c2bd2613ca15f5d7929b514f324759537 8000,8000,0000,8000
normal(std=1e-40)                        w 7x33 - 42 bf16 7cf1ef1aca8a0e615685a52860a0ae89937bb3503527cbc1e6960afa6e80395a 8002,8001,0000,8001
normal(std=4e-5)                         w 7x33 - 42 f32 0035689c24c0a47dd2c48046d89b68a234174d7ab48642d8a101b8c7515092ac b884ee5d,b85e1b0b,35be33d0,b8486650
normal(std=4e-5)                         w 7x33 - 42 f16 2e64325c06292510f826a11012cfa389e2b504c16c66e856e5e88b07d2cf900d 8427,8378,0018,8322
normal(std=4e-5)                         w 7x33 - 42 bf16 9894a544a8a7716fb107dc77a1d36589abd47b96efac2bbdfc1f76b90d805812 b885,b85e,35be,b848
normal(mean=1e38,std=1.5e38)             w 7x33 - 42 f32 8d4060073c12c82d7c1e2a010a57d3ef720b3d7f84c30420c8bad1397d7e0ef2 fecf2fdc,fe9452d5,7e9e758d,fe6e3f52
normal(mean=1e38,std=1.5e38)             w 7x33 - 42 f16 46f3bbed18ae096b52f0932ce5c9c37dc3929b0d4a2eefdc240ee4562261ad71 fc00,fc00,7c00,fc00
normal(mean=1e38,std=1.5e38)             w 7x33 - 42 bf16 b4598223e0cd83d2ad0becf7c3c4c59ef389bc897ae5e2e3ec54e3ae8fc47f5d fecf,fe94,7e9e,fe6e
normal(mean=2,std=0)                     w 7x33 - 42 f32 03f8a1c11cef6565ebcabc8f089fb2e506969ae0425adfd762e43afc66bd50a5 40000000,40000000,40000000,40000000
uniform                                  w 7x33 - 42 f32 667527394a5ddf5052052df19b89626d912b69ecb095c97260687f5111e7fc84 3df2ec88,3f6cc5f2,3efab6b8,3eaa2d8e
uniform                                  w 7x33 - 42 f16 a2499dad56fc91c527902e134114cd9575c9fc4c6738fbd2659986bfa20b9cb8 2f97,3b66,37d6,3551
uniform                                  w 7x33 - 42 bf16 862757f5049b613aec445e895aae1a627cbbbe50474e874591867653219c39d3 3df3,3f6d,3efb,3eaa
uniform(low=-1,high=1)                   w 7x33 - 42 f32 5188301ab8f0d666fe0d583785ed66e3ed7ecf21ac9ffdf8cd05eb79112f7ce4 bf4344de,3f598be4,bca928e0,beaba4e4
uniform(low=-1,high=1)                   w 7x33 - 42 f16 5d761c3fa52284c72887cee7c60fd62cca665932c80bb82e74f5deed2413dad8 ba1a,3acc,a549,b55d
uniform(low=-1,high=1)                   w 7x33 - 42 bf16 e4eec4a0e2523f8b7783a51e9d21e0025b8eb50a5b40a6648e33e5cf93776b2e bf43,3f5a,bca9,beac
uniform(low=0.1,high=0.7)                w 7x33 - 42 f32 1959e9f7e7a4d988b7a912a9e180ecf4e625c8478cd00686df3d6f1ee028d7f7 3e2f46f4,3f27a9f7,3ec9a0d6,3e994e88
uniform(low=0.1,high=0.7)                w 7x33 - 42 f16 e64a5edb30cc5ee23815c7527e82e0028003e55a71c3b8095ad441e1d683a5a5 317a,393d,364d,34ca
uniform(low=0.1,high=0.7)                w 7x33 - 42 bf16 0950d72c709969aea83d2e8d672300c51be6ceaaed78e4c46d77b0b9960b77e0 3e2f,3f28,3eca,3e99
uniform(low=1,high=1.0000002384185791)   w 7x33 - 42 f32 109250c5e4f96309daee8a7a9063f182e8635796bd8e70ba03ecad8f20ee9130 3f800000,3f800001,3f800000,3f800000
uniform(low=-6e-45,high=6e-45)           w 7x33 - 42 f32 78d6d5a2c5a9c88a7dc53b6c2dad106b514a606c81b89edda294792c7ea460d4 80000004,00000003,80000001,80000002
uniform(low=60000,high=70000)            w 7x33 - 42 f16 8e5b5c7fcce1d83792a794232592779401aa00c6721c70cb327a85f4cbe79d22 7b78,7c00,7bec,7bbb
constant(value=0.1)                      w 7x33 - 42 f32 f11b31db80409461dc9f0f31d0f42efddb8d83513098b17116d4cad2ca14c796 3dcccccd,3dcccccd,3dcccccd,3dcccccd
constant(value=0.1)                      w 7x33 - 42 f16 6772a04a703a43976db1c3a63c4a0687f0cc61fb8ed3f7685d3240ae983cf775 2e66,2e66,2e66,2e66
constant(value=0.1)                      w 7x33 - 42 bf16 9899134864134696be047fe3fe8243048bfcf0e10c901d80f4db0d8e867ed8cc 3dcd,3dcd,3dcd,3dcd
constant(value=-0)                       w 7x33 - 42 f32 ad6901e3bee002eb4c139913f0639b2b3cefd1da4163e1f0ccc5578093ece652 80000000,80000000,80000000,80000000
constant(value=65520)                    w 7x33 - 42 f16 ce0fa307584f3a73e867a8b4c213b950cceca49463f39f77d7b8319df06935f9 7c00,7c00,7c00,7c00
zeros                                    w 7x33 - 42 f32 ce7c16adff608d624a412164fdc692305fb461f4b14f9167e6efa78dbbad12ba 00000000,00000000,00000000,00000000
ones                                     w 7x33 - 42 bf16 8bfdfa09ee7a31ad128180fd37a9c557c6c368c97f5fbda5fb0b54da473e0d0f 3f80,3f80,3f80,3f80
xavier_normal                            fc.weight 512x784 - 42 f32 d00da88a8d74ad689488feaddddf440144e0c1996b2a2eb0e52e187c285d5d99 3c99d866,bc8628be,bc8e8406,3cb101d3
xavier_uniform(gain=1.5)                 fc.weight 512x784 - 42 f32 521606161b330f4d0c2cff41f587b166393e1582edfc946ada696fe112fa3b35 3d84d847,3ccd0d78,3d698a92,3dc6b30f
kaiming_normal                           fc.weight 512x784 - 42 f32 76be399d8f551c057ddf9965b012b746ee991442664372cbe119a943d4b5774f 3cc5cd15,bcac7d86,bcb73c07,3ce394a1
kaiming_normal                           fc.weight 512x784 - 42 f16 0f509950a32df789b0c4f17de210d6998282555e5333e0d9387f6d0e0380b022 262e,a564,a5ba,271d
kaiming_normal                           fc.weight 512x784 - 42 bf16 40a992795daf470f93d5a120c084d04d468e4219c96e6ada78897ef4f54bc48e 3cc6,bcac,bcb7,3ce4
kaiming_uniform(a=0.1,mode=fan_out)      conv.weight 64x16x3x3 - 42 f32 8ffafc39ff0ec7fb57b6c39234f4970eeb647026713331ebfc9573c005e4181b 3d93cbf0,3cfd0ac0,3d114474,bd35dd0e
kaiming_uniform(a=0.1,mode=fan_out)      conv.weight 64x16x3x3 - 42 f16 c2f8f568734bc8486488601c95a34e46f6fdc800297aecbdbcfa0920abdb577a 2c9e,27e8,288a,a9af
kaiming_uniform(a=0.1,mode=fan_out)      conv.weight 64x16x3x3 - 42 bf16 23c38fdc9a9201f85d714a8019916d8a5b76f524dbd2fa54cb48df0baa54f29b 3d94,3cfd,3d11,bd36
variance_scaling(distribution=normal)    conv.weight 64x16x3x3 - 42 f32 47377a8753b31d2bff05b93ec6215509c567e32e1afaac07d4487bbdfc0d621d bb05f4c0,3d3ea80c,bd957887,3c420bd4
lecun_normal                             conv.weight 64x16x3x3 - 42 f32 2979ef6c8a8e5fbf0f2060d432e0422b22d8db8dcb485ef6ba6b230d109ca565 3dc042b7,3d107660,3d27244a,bd5536c8
he_normal                                fc.weight 512x784 - 42 bf16 f1bddddcfa0423fcce42d6eb4fba7d48f81a4805dd16613cf99642a95c5d73b2 3d49,3c8c,3d2b,3dc6
trunc_normal(std=0.02)                   w 7x33 - 42 f32 52802e1f09437631f43942ffb41ffd3ec898d07cd545c756d16102f5f5476d28 bcc1a60e,3cebbb59,ba07b390,bc0e0061
trunc_normal                             w 7x33 - 42 f32 7e7d53a5166088b7a561e61f2632410a3a766d4efdb368cc8c2a5c32cc79a095 bf8c9f5f,3fa82e5a,bcca6270,bed32c5c
trunc_normal                             w 7x33 - 42 f16 7fff853b62b784e7c8dd854fd9492118a9120a242f2c36d1a5cb14a3ba859c76 bc65,3d41,a653,b699
trunc_normal(mean=0.5,a=-0.25,b=0.75)    w 131x509 - 42 f32 5b1f04ea23956a41859bf62f8bc7b40b4853846f499be924ebf076785d012cb7 bde253be,3f2da5ee,3e89f300,3dec839b
trunc_normal(a=-1000,b=1000)             w 131x509 - 42 f32 7a5b5396bc6799bc404c0399a41b80a2d2108f382d40c5e8508a47c69963823f bf9749bb,3fb82a5e,bcd408a0,bedde098
trunc_normal(a=5,b=inf)                  w 131x509 - 42 f32 0cfa60ada92c000879f57799be89368e1693fe88946ba6b6c598400c47bedb54 40a0c6fa,40af4a5f,40a419fa,40a27998
trunc_normal(a=-12,b=-11.5)              w 131x509 - 42 f32 8d33ec7e5323b6199c5e11535d71438f47f1da382cd9c529fa74967842c45e4e c13ae4f4,c1381b85,c138fac9,c13981f4
trunc_normal(a=1000000,b=1000001)        w 131x509 - 42 f32 e612a94145c0fc76396c255572b4ea5e53941fe69489217d1e2c481ba3e7eb42 49742400,49742400,49742400,49742400
truncated_normal(mean=1,std=0.1,lower=-3) w 131x509 - 42 f32 5a982fdd7829e00394d139aa75d9d20eb5436b63ced99d4cbd2e9f7f659d40c5 3f618bfe,3f90b255,3f7eaa8c,3f746f4c
mamba2_a_log                             w 131x509 - 42 f32 63534268781c1bed75401cf3f4894239ee90c35ec8c287f426430f0d1dc20a6f 3f82d693,402cc5dc,4007c992,3fe50a16
mamba_dt_bias                            w 131x509 - 42 f32 1c913860e9cebaf76eafd076b2d08ef5aae65196c52ab5ddd8b0f88e287b81ba c0cb8a6f,c0273930,c094bbf9,c0abfe38
mamba_a_log                              w 131x16 - 42 f32 08ac509f7992faab5c21a11d13b99c6789368b14395c52d087f7c3bf956f08a3 00000000,3f317218,3f8c9f54,3fb17218
sinusoids                                w 1500x384 - 42 f32 06558014e808a45162b25f7f25ed8e3e3bef5aa5aaa80c21bf29a8e3d8a6d333 00000000,00000000,00000000,00000000
sinusoidal                               w 1500x384 - 42 f32 262db5d79e803b3fa25e884f9f0a51cd84e3013b8c5805a18180cbf8003c5dc3 00000000,3f800000,00000000,3f800000
sinusoidal                               w 1500x384 3:1500,7:9 42 bf16 3b2528ad20ac87e89e27f0de10bd08cebe6621b09073d5281e899858c1c00cd8 bf5b,3f1e,bf73,be23
sparse(sparsity=0.1)                     w 131x509 - 42 f32 6ba6537f601a49abb37aea0a172257ef7d26931636a7e6d9366ba15d398024ac bc81d0c7,bc58e669,39b9bea0,bc43b3ea
sparse(sparsity=0.5,std=1)               w 70001x9 - 42 f32 a3b2f014d1c2156fa9d93b77acc40c61048475c8fe147402a7b7779859fb65c5 00000000,bfa97402,00000000,bf98e48f
embedding(padding_idx=2)                 w 7x33 - 42 f32 944123d904d8ba1098ac13c62987688e0b48a1bfdf40ce29f50e0e9763373d09 bfcad637,bfa97402,3d111ce8,bf98e48f
causal_mask                              w 2x33x33 - 42 f32 954bf8692c6cc28b60569f083957d7ccaceddbd47d49dab5d6d12372a4f0256c 3f800000,00000000,00000000,00000000
causal_mask(value=-2.5)                  w 2x33x9 1:2,3:30,2:9 42 bf16 4497dea679a10d44821a0e0efcf50d7249c4e93dd654a5c7e97e49c40c8be66a c020,c020,0000,0000
arange                                   w 1x512 - 42 f32 1ba107b4e848a9dfa507028c40f2ee00d1ce41dc11e27ba2d47843a9c6c53426 00000000,3f800000,40000000,40400000
arange(start=0.5,step=0.1)               w 3x77 - 42 f16 41d1962ea441e8067e39a9bd52cff148152594e3982f08c6f48541373d40cf12 3800,38cd,399a,3a66
inv_freq                                 w 64 - 42 f32 517d37a3dd07d63acf7d03dc05ff2e4f3a778c2783e9541d86ef1cd37bb5b968 3f800000,3f5dafd7,3f3ff911,3f263de0
inv_freq_linear(factor=4,theta=1000000)  w 65 - 42 f32 ae46b7c75603c5d0d4471eb0353498c6ea084b6468be8ef68142234c8f905f92 3e800000,3e4efb5b,3e27597d,3e074e53
inv_freq_dynamic(factor=2,length=4)      w 64 - 42 f32 940221159f64878b7c57526f487c2060db8c47eb290156ca15031bd24b10d4f4 3f800000,3f56f1b6,3f347901,3f17878e
inv_freq_llama3(factor=8)                w 64 - 42 f32 2704b7f7c8739fba971cc880e1d15da333637794a7c957e0cf5be99471d8d233 3f800000,3f508ac1,3f29e1c5,3f0a6384
inv_freq_yarn(factor=4,original_max_position_embeddings=4096) w 64 - 42 f32 e5816b480460197409426f3d1d28f4d18a5b7a6bebd9aa55fcdd7c28930a6807 3f800000,3f5dafd7,3f3ff911,3f263de0
inv_freq_yarn(factor=32,original_max_position_embeddings=4096,truncate=false) w 32 - 42 f32 3588106435266c07f2178fe8b7bcea3691143801045008a4ec7531dac3bfc796 3f800000,3f3ff911,3f0ff59a,3ed7e89b
inv_freq_proportional(partial_rotary_factor=0.25) w 128 - 42 f32 ab7e41d14d52aff8f8e2f6c38c786eca063c9a9ab81ee521910c78f3d6d83016 3f800000,3f6e39f8,3f5dafd7,3f4e4bac
embedding(padding_idx=-2)                w 7x33 - 42 f32 9426866fa50ebb8285e9effc71a68f5d842cc224d3f410871aca983fe79c8c61 bfcad637,bfa97402,3d111ce8,bf98e48f
eye                                      w 33x7 - 42 f32 31a366e867cfe7909dff7d3a3b07d2f48af9ff59874cd1db558012b3168cbcf3 3f800000,00000000,00000000,00000000
dirac(groups=2)                          w 8x3x3x5 - 42 bf16 5ef588d01ac20c316b6531b5d4fdb04321c368429bb98722c0e877f229ed6db4 0000,0000,0000,0000
siren                                    w 131x509 - 42 f32 c5b2bf465ae80b7091187442d75fb8174cf8da551ead38bd35fa28e5f4864725 bb34e99f,3b498d5a,b89cb900,ba9f064e
deepnorm(layers=12)                      w 131x509 - 42 f32 bfce7385ac5adb9e445bfe8a59914125d60ce0aaa1c9e77870af77e8fdfd50b6 bce7d66d,bcc1ae51,3a25dc50,bcaec0ba
mup(role=output,std=0.02,base=256)       w 131x509 - 42 f32 2bbe3b688996ec32b49e063ca4a221781228dd72b0e3be02880b09354a2aafa7 bc8294a7,bc5a2dae,39bad6e0,bc44db34
lecun_uniform                            conv.weight 64x16x3x3 - 42 f32 4ca8df531a669436b2166fe9677744ef49547bd996aa22a2af30b3a53f52222c 3dd20ef8,3d33d1f4,3d4e76b8,bd813d02
bias_uniform(fan_in=784)                 fc.bias 512 - 42 f32 a4d929069f54156a5967c72f2da33414a85a21a1f9d1f99547892c4dc06a8d15 bc85d356,bbae7710,bca5f60a,bc07bfb4
residual_normal(std=0.02,layers=12)      h.0.attn.c_proj.weight 768x768 - 42 f32 d2cb24f62fe3d8d978a5e6e06cfe04d40dd00d8d3c50bdb1bdfd77ae86c54a04 bb9f55bb,bb497670,bb12b533,bac117af
normal                                   w 7x33 - 0 f32 894992749789f73219129b5fe3b9450066e2772a8a44da2b68d1ff3c620e7eef bf3ac4bc,bfa3548b,bf400cc3,bfc5ea8e
normal                                   w 7x33 - 43 f32 103298aacd7d47070a6c6c8452a2907ca6ffef97c3a6aa16d544d693ddaa6139 bfb05a89,3eae4bab,bf9046ee,3f0382d9
normal                                   w 7x33 - 4294967296 f32 0f36bb29cd78f712a135b93dd29a9553e9e9fc8ff712365edb7b04f7899ea1b1 bf8c54da,3eeb4a15,3fbfac34,402f68aa
normal                                   w 7x33 - 18446744073709551615 f32 30c08dbc92cf22d10fb268452dbd9172af67b84d93bceeddfe9fcfe1998e7a9c 3f83001d,bf262936,bf9e90af,3fde7862
uniform                                  w 7x33 - 0 bf16 e98606969b774c28aa7909af5f391b3fbd3d582e87705b6e51d915cd4c563257 3eae,3f5a,3e6a,3f62
uniform                                  w 7x33 - 18446744073709551615 f16 29c6b1c851285fe7cf78a21d9de0fb6d2b3c6351f6f4fc9e4d1a3d14f37a363a 37ad,3638,2e90,36b4
normal                                   layers.0.weight 7x33 - 42 f32 b544c0aac3f817c34117c3df7dca826d789fee58c3febb5746319d406ff9c777 beaed55f,bfd3b6d8,bfa04b7e,3ea1fd55
normal                                   Größe/重み 7x33 - 42 f32 df454d61515fae0a9506921d55c534292ecfdd1f8e8095fbc74958e374e64f77 be2dfcde,3ef54a3c,bf198c8a,3efed370
normal                                   w - - 42 f32 19ac980d68ca1a9b1221a68e753188305dfa6e3fc862c065373b076faaa02320 bfcad637
normal                                   w 1 - 42 f32 19ac980d68ca1a9b1221a68e753188305dfa6e3fc862c065373b076faaa02320 bfcad637
normal                                   w 3 - 42 f16 b981db05ffd0328b8ea325b27c9f92c31dbd1e9b4fe07495ea0f609304d01ad1 be57,bd4c,2889
normal                                   w 5x1x7 - 42 bf16 54928dbb1804ec9fa2b8fc1549a601d3e83bc2f36ab75fc8879f29bb877ba1b5 bfcb,bfa9,3d11,bf99
normal                                   w 131x509 - 42 f32 6d248cdd001548a71c95aa57c2ce42565196d8de61de1f16c1e1448365f117e7 bfcad637,bfa97402,3d111ce8,bf98e48f
normal                                   w 131x509 - 42 bf16 dff497abcc1afc5ac21b9d9e668be1317efde589aaa3175caf4a053a4aad38d9 bfcb,bfa9,3d11,bf99
uniform                                  w 65539 - 42 f32 21d2305bce727b5dd9a3f640536652d40cc8df6c3c000679035d14c5c3e40093 3df2ec88,3f6cc5f2,3efab6b8,3eaa2d8e
normal                                   w 7x33 2:5,0:33 42 f32 a2151bf5a8f0e5e42e6f9ff49b31f93cbd810288d7fe99bfbfc04f7b19682e11 3f99b97c,bfb85bcd,bf49a6d5,bf0b588b
normal                                   w 7x33 0:7,31:33 42 f32 70dd29077fd789a9fc369b39bc3de200c8489599db2c158c47df589a9a87cc40 3fe13d39,be2cc602,bf05e4a6,3f93a6e7
normal                                   w 7x33 6:7,1:2 42 bf16 9f2e76d94004f099574e5927674d45ed6b6e3f959440db547c430193c36c6852 3f66
uniform                                  w 9x8x7x6 1:8,2:7,3:4,1:5 42 f32 1bedbb958f6a64bf9911dfe2c41da4fe63bc54bdc93530c18f4ecee696c2c7a0 3f30c4fc,3e2ecc9c,3f1947f3,3f23fe53
uniform                                  w 9x8x7x6 1:8,0:8,0:7,0:6 42 f16 b524361b7915f2e3161481befe69baff6ba609947edaefef89d95275fe90bf64 3710,38f7,3b59,1cb8
normal                                   w 1125899906842624 4294967290:4294967301 42 f32 b61b47c1a8fa0271dbda77a0d363a6ae640120ef8d2ed057b602e1b0c30f39b4 3fb17748,3fb273e8,bebd2a2b,3f3143ba
normal                                   w 1125899906842624 17179869183:17179869190 42 f32 5475b460b9ff3107c9d0bc07c9d0c14cf9b25a7d6e63054c8dfc2be65b4266a6 3ecc23ea,3f152930,bf0f4775,be8c472f
uniform                                  w 1125899906842624 562949953421309:562949953421317 42 f32 c2ced3f4e2b6e310cba1d7692ea765e9a4fb44ed7f74eb07530072b04d31b14e 3d9d1880,3ea960b4,3f66c57d,3f074f17
normal                                   w 33554432x33554432 33554431:33554432,33554400:33554432 42 bf16 1930713d4d6db470ce1d8e8b607d0b9d47612683c21b70054437efb43df6d970 bfa0,bfff,be5b,bf02
";

fn shape(text: &str) -> Shape {
    let dims: Vec<u64> = match text {
        "-" => Vec::new(),
        dims => dims.split('x').map(|dim| dim.parse().unwrap()).collect(),
    };
    Shape::new(dims).unwrap()
}

/// Makes the line of the table for the fill of these columns.
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
                panic!("the line must have 8 columns: {line_}");
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

/// The table belongs to version 1.
#[test]
fn the_pinned_version_is_1() {
    assert_eq!(STREAM_VERSION, 1);
}
