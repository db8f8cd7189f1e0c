//! Which of several processes this one is, as whatever started them says.

use fanin::checkpoint::Share;

use crate::Failure;
use crate::args::DistributedArguments;

/// This process among those that share the work.
pub struct World {
    /// Its rank, and how many there are.
    pub share: Share,
    /// Its rank among those of this machine, where that is known: it picks the GPU.
    pub local_rank: Option<u64>,
    /// Who says so: a launcher's name, or the arguments.
    source: &'static str,
}

/// The variables that a launcher sets.
struct Launcher {
    name: &'static str,
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
}

/// The first of which both are set counts. Of two that are, the inner one is first: torchrun
/// and mpirun may have been started within Slurm, whose variables then speak of the machine's
/// agent, the same for all of its processes.
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
    // MPICH, Intel MPI and their kin; MPI_LOCALRANKID is Hydra's.
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

impl World {
    /// What the arguments say, else what the launcher says; nothing where one process is to do
    /// all.
    pub fn find(arguments: &DistributedArguments) -> Result<Option<Self>, Failure> {
        World::from(arguments, |name| std::env::var(name).ok())
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
                Failure::Usage(format!("{name}={text:?} in the environment is no number"))
            })
        };
        if let (Some(rank), Some(size)) = (arguments.rank, arguments.world_size) {
            if rank >= size {
                return Err(Failure::Usage(format!(
                    "--rank {rank}: of --world-size {size}, use 0 to {}",
                    size.saturating_sub(1)
                )));
            }
            return Ok(Some(World {
                share: Share { rank, size },
                // A launcher may have set it all the same.
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
                    "{}={rank} in the environment, but {}={size}: a rank is smaller than the \
                     number of processes",
                    launcher.rank, launcher.size
                )));
            }
            return Ok(Some(World {
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
            "--distributed: the environment says no rank ({}): start it by mpirun, torchrun or \
             srun, or give --rank and --world-size",
            pairs.join(", ")
        )))
    }

    /// `rank 1 of 3 (Open MPI)`.
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
        match World::from(arguments, variable) {
            Ok(None) => "alone".to_owned(),
            Ok(Some(world)) => format!("{}, local {:?}", world.describe(), world.local_rank),
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
    fn launchers_say_who_a_process_is() {
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
        // Not asked for: a shell within a job is one process, whatever its environment says.
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
    fn what_makes_no_sense_is_refused() {
        for (environment, expected) in [
            (&[][..], "says no rank (RANK and WORLD_SIZE"),
            (&[("RANK", "1")], "says no rank"),
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
