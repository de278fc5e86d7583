! SPDX-License-Identifier: BSD-3-Clause
!
! usage: heat STEPS
!
! Heat in a plate that is cut into stripes, by module mpi or, with F08 defined, mpi_f08: a grid of
! processes, columns as derived types, persistent requests, a reduction of its own.
#ifdef F08
#define MODULE mpi_f08
#define OWN own_f08
#define HANDLE(kind) type(kind)
#else
#define MODULE mpi
#define OWN own_mpi
#define HANDLE(kind) integer
#endif

module OWN
  implicit none
contains
  ! The one of greater size, with its sign.
#ifdef F08
  subroutine greater(a, b, n, t)
    use, intrinsic :: iso_c_binding, only: c_ptr, c_f_pointer
    use mpi_f08
    type(c_ptr), value :: a, b
    integer :: n
    type(MPI_Datatype) :: t
    real(8), pointer :: x(:), y(:)
    call c_f_pointer(a, x, [n])
    call c_f_pointer(b, y, [n])
    if (t /= MPI_DOUBLE_PRECISION) call MPI_Abort(MPI_COMM_WORLD, 3)
    where (abs(x) > abs(y)) y = x
  end subroutine
#else
  subroutine greater(x, y, n, t)
    use mpi
    integer :: n, t, ierr
    real(8) :: x(n), y(n)
    if (t /= MPI_DOUBLE_PRECISION) call MPI_Abort(MPI_COMM_WORLD, 3, ierr)
    where (abs(x) > abs(y)) y = x
  end subroutine
#endif
end module

program heat
  use MODULE
  use OWN
  implicit none
  integer, parameter :: rows = 600, columns = 500
  real(8) :: plate(rows, 0:columns + 1), later(rows, columns), most(2), all(2)
  HANDLE(MPI_Comm) :: line
  HANDLE(MPI_Datatype) :: column
  HANDLE(MPI_Op) :: op
  HANDLE(MPI_Request) :: request(4)
  integer :: rank, ranks, left, right, steps, step, i, j, ierr
  character(20) :: word

  call get_command_argument(1, word)
  read (word, *) steps
  call MPI_Init(ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierr)
  call MPI_Cart_create(MPI_COMM_WORLD, 1, [ranks], [.true.], .true., line, ierr)
  call MPI_Comm_rank(line, rank, ierr)
  call MPI_Cart_shift(line, 0, 1, left, right, ierr)
  call MPI_Type_contiguous(rows, MPI_DOUBLE_PRECISION, column, ierr)
  call MPI_Type_commit(column, ierr)
  call MPI_Op_create(greater, .true., op, ierr)
  if (rank == 0) then
    print '(a)', 'begin'
    flush (6)
  end if
  do j = 0, columns + 1
    do i = 1, rows
      plate(i, j) = sin(0.37d0 * i) * cos(0.11d0 * (rank * columns + j))
    end do
  end do
  call MPI_Recv_init(plate(1, 0), 1, column, left, 1, line, request(1), ierr)
  call MPI_Recv_init(plate(1, columns + 1), 1, column, right, 2, line, request(2), ierr)
  call MPI_Send_init(plate(1, columns), 1, column, right, 1, line, request(3), ierr)
  call MPI_Ssend_init(plate(1, 1), 1, column, left, 2, line, request(4), ierr)
  do step = 1, steps
    call MPI_Startall(4, request, ierr)
    call MPI_Waitall(4, request, MPI_STATUSES_IGNORE, ierr)
    most = 0
    do j = 1, columns
      do i = 1, rows
        later(i, j) = 0.25d0 * (plate(max(i - 1, 1), j) + plate(min(i + 1, rows), j) &
                                + plate(i, j - 1) + plate(i, j + 1))
        most(1) = max(most(1), abs(later(i, j) - plate(i, j)))
        if (abs(later(i, j)) > abs(most(2))) most(2) = later(i, j)
      end do
    end do
    plate(:, 1:columns) = later
    call MPI_Allreduce(most, all, 2, MPI_DOUBLE_PRECISION, op, line, ierr)
    if (rank == 0 .and. mod(step, steps / 20) == 0) then
      print '(a,i7,2es25.16)', 'step', step, all
      flush (6)
    end if
  end do
  do i = 1, 4
    call MPI_Request_free(request(i), ierr)
  end do
  call MPI_Op_free(op, ierr)
  call MPI_Type_free(column, ierr)
  call MPI_Comm_free(line, ierr)
  call MPI_Finalize(ierr)
end program
