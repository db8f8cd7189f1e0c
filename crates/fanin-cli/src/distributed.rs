//! The rank of this process among those that share the work, set by arguments or a launcher.

use fanin::checkpoint::Share;
use fanin::text::quoted;

use crate::Failure;
use crate::args::DistributedArguments;

/// The rank of this process among those that share the work.
pub struct ProcessRank {
    /// The rank, and the number of processes.
    pub share: Share,
    /// The rank among the processes of this machine, if it is known. It picks the GPU.
    pub local_rank: Option<u64>,
    /// The origin of the rank: a launcher's name, or `--rank`.
    source: &'static str,
}

/// The environment variables that a launcher sets.
struct Launcher {
    name: &'static str,
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
}

/// The launchers. The first whose rank and size are both set is used. Launchers that are started
/// within another come first: under torchrun or mpirun within Slurm, the variables of Slurm
/// describe the agent of the machine, and are the same for all of its processes.
const LAUNCHERS: [Launcher; 4] = [
    Launcher {
        name: "torchrun",
        rank: "RANK",
        size: "WORLD_SIZE",
        local_rank: "LOCAL_RANK",
    },
    Launcher {
        name: "Open MPI",
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
    },
    // MPICH, Intel MPI and their derivatives. Their process manager Hydra sets MPI_LOCALRANKID.
    Launcher {
        name: "MPI (PMI)",
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        local_rank: "MPI_LOCALRANKID",
    },
    Launcher {
        name: "Slurm",
        rank: "SLURM_PROCID",
        size: "SLURM_NTASKS",
        local_rank: "SLURM_LOCALID",
    },
];

impl ProcessRank {
    /// Reads the rank from the arguments, else from the launcher's variables. It returns `None` if
    /// one process does all the work.
    pub fn find(arguments: &DistributedArguments) -> Result<Option<Self>, Failure> {
        ProcessRank::from(arguments, |name| std::env::var(name).ok())
    }

    fn from(
        arguments: &DistributedArguments,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let number = |name: &str| -> Result<Option<u64>, Failure> {
            let Some(text) = variable(name).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let number = text.trim().parse();
            number.map(Some).map_err(|_| {
                Failure::Usage(format!(
                    "environment variable {name}={}: use a whole number from 0",
                    quoted(&text)
                ))
            })
        };
        if let (Some(rank), Some(size)) = (arguments.rank, arguments.world_size) {
            if rank >= size {
                return Err(Failure::Usage(match size {
                    0 => "--world-size 0: use at least 1".to_owned(),
                    _ => format!(
                        "--rank {rank} is out of range: with --world-size {size} use 0 to {}",
                        size - 1
                    ),
                }));
            }
            return Ok(Some(ProcessRank {
                share: Share { rank, size },
                // A launcher may set it even if --rank is given.
                local_rank: number("LOCAL_RANK")?,
                source: "--rank",
            }));
        }
        if !arguments.distributed {
            return Ok(None);
        }
        for launcher in &LAUNCHERS {
            let (rank, size) = (number(launcher.rank)?, number(launcher.size)?);
            let (Some(rank), Some(size)) = (rank, size) else {
                continue;
            };
            if rank >= size {
                return Err(Failure::Usage(format!(
                    "environment variables {}={rank} and {}={size}: the rank must be smaller \
                     than the number of processes",
                    launcher.rank, launcher.size
                )));
            }
            return Ok(Some(ProcessRank {
                share: Share { rank, size },
                local_rank: number(launcher.local_rank)?,
                source: launcher.name,
            }));
        }
        let pairs: Vec<String> = LAUNCHERS
            .iter()
            .map(|launcher| format!("{} and {}", launcher.rank, launcher.size))
            .collect();
        Err(Failure::Usage(format!(
            "--distributed: no launcher has set a rank ({}): use mpirun, torchrun or srun, or \
             give --rank and --world-size",
            pairs.join(", ")
        )))
    }

    /// Returns a description such as `rank 1 of 3 (Open MPI)`.
    pub fn describe(&self) -> String {
        let Share { rank, size } = self.share;
        format!("rank {rank} of {size} ({})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(arguments: &DistributedArguments, environment: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match ProcessRank::from(arguments, variable) {
            Ok(None) => "alone".to_owned(),
            Ok(Some(process)) => format!("{}, local {:?}", process.describe(), process.local_rank),
            Err(Failure::Usage(message)) => message,
            Err(_) => "failed".to_owned(),
        }
    }

    fn distributed() -> DistributedArguments {
        DistributedArguments {
            distributed: true,
            rank: None,
            world_size: None,
        }
    }

    #[test]
    fn launchers_set_the_rank() {
        let slurm = [
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "2"),
            ("SLURM_LOCALID", "0"),
        ];
        let mpi = [
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_SIZE", "8"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
        ];
        let torchrun = [("RANK", "5"), ("WORLD_SIZE", "16"), ("LOCAL_RANK", "5")];
        let pmi = [("PMI_RANK", "1"), ("PMI_SIZE", "2")];
        for (environment, expected) in [
            (&slurm[..], "rank 0 of 2 (Slurm), local Some(0)"),
            (&mpi, "rank 3 of 8 (Open MPI), local Some(1)"),
            (
                &[slurm, mpi].concat(),
                "rank 3 of 8 (Open MPI), local Some(1)",
            ),
            (
                &[slurm, torchrun].concat(),
                "rank 5 of 16 (torchrun), local Some(5)",
            ),
            (&pmi, "rank 1 of 2 (MPI (PMI)), local None"),
        ] {
            assert_eq!(find(&distributed(), environment), expected);
        }
        // Without --distributed, variables are ignored: a shell within a job is one process.
        let alone = DistributedArguments {
            distributed: false,
            ..distributed()
        };
        assert_eq!(find(&alone, &mpi), "alone");
        let by_hand = DistributedArguments {
            rank: Some(1),
            world_size: Some(4),
            ..alone
        };
        assert_eq!(find(&by_hand, &mpi), "rank 1 of 4 (--rank), local None");
    }

    #[test]
    fn invalid_ranks_are_refused() {
        for (environment, expected) in [
            (&[][..], "no launcher has set a rank (RANK and WORLD_SIZE"),
            (&[("RANK", "1")], "no launcher has set a rank"),
            (&[("RANK", "2"), ("WORLD_SIZE", "2")], "RANK=2"),
            (
                &[("PMI_RANK", "one"), ("PMI_SIZE", "2")],
                "PMI_RANK=\"one\"",
            ),
        ] {
            let message = find(&distributed(), environment);
            assert!(message.contains(expected), "{message}");
        }
        let by_hand = DistributedArguments {
            distributed: false,
            rank: Some(4),
            world_size: Some(4),
        };
        assert!(find(&by_hand, &[]).contains("use 0 to 3"));
    }
}
